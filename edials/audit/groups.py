"""Worst person and groups: whom attackers identify more often than others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..metrics.leakage import confidence_interval
from ..metrics.risk import attribute_cells

#: A report has no figures of groups of fewer people.
SMALL_GROUP = 10


def worst_person(
    success: NDArray, cells: NDArray[np.int64], permutations: NDArray[np.int64]
) -> dict[str, Any]:
    """Highest success of one person, and number of people named far more often than by chance.

    The few images of a person reach much by chance, so both figures stand beside their means over
    people permuted inside their cells. People alone in their cell are left out: the attributes name
    them, whatever the images show. ``success`` of shape (n_people, n_people) is everybody's (rows)
    if their images showed anybody (columns).
    """
    size = np.bincount(cells)[cells]
    shared = np.flatnonzero(size > 1)
    true = success[shared, shared]
    null = success[shared, permutations[:, shared]]
    threshold = 2 / size[shared] + 1e-9
    return {
        "worst_person_risk": float(true.max()) if len(shared) else float("nan"),
        "worst_person_null": float(null.max(axis=1).mean()) if len(shared) else float("nan"),
        "people_above_twice_floor": int((true > threshold).sum()),
        "people_above_twice_floor_null": float((null > threshold).sum(axis=1).mean()),
    }


def people_table(
    attributes: pd.DataFrame | None, people: NDArray[np.int64], cells: NDArray[np.int64]
) -> pd.DataFrame:
    """Columns ``cell`` and the attributes of every person, the most frequent combination.

    ``people`` (n_samples,) is -1 outside the gallery; ``cells`` has shape (n_people,).
    """
    table = pd.DataFrame({"cell": cells})
    if attributes is None:
        return table
    names = attribute_cells(people, attributes)
    labels = [names[people == code][0].split("\x1f") for code in range(len(cells))]
    return pd.concat([table, pd.DataFrame(labels, columns=attributes.columns)], axis=1)


def group_table(success: NDArray[np.float64], people: pd.DataFrame) -> pd.DataFrame:
    """In-cell excess of every group of every attribute, highest first.

    ``success`` (n_people,) is everybody's rank-1 success, the true cell being known; ``people`` is
    from :func:`people_table`. ``n_people`` share their cell. Those ``alone`` do not: no image is
    needed to name them, so the figures leave them out. Below ten people the ``note`` is "too small"
    and there are no figures, which would be those of a few.
    """
    cells = people.iloc[:, 0].to_numpy()
    size = np.bincount(cells)[cells]
    excess = success - 1 / size
    rows: list[tuple[Any, ...]] = []
    for place, attribute in enumerate(people.columns[1:], start=1):
        column = people.iloc[:, place]  # by place: an attribute may be called "cell", too
        for group in sorted(column.unique()):
            members = (column == group).to_numpy()
            values = excess[members & (size > 1)]
            small = len(values) < SMALL_GROUP
            low, high = (np.nan, np.nan) if small else confidence_interval(values)
            alone = int((members & (size == 1)).sum())
            mean, note = (np.nan, "too small") if small else (values.mean(), "")
            rows.append((str(attribute), group, len(values), alone, mean, low, high, note))
    names = ["attribute", "group", "n_people", "alone", "in_cell_excess", "low", "high", "note"]
    # Small groups have no figures to rank by: they come last.
    table = pd.DataFrame(rows, columns=names).sort_values(
        ["note", "in_cell_excess"], ascending=[True, False]
    )
    return table.set_index(["attribute", "group"])
