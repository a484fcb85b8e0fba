"""Whom it hits: the person an attacker knows best, and groups of the kept attributes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..metrics.leakage import interval
from ..metrics.risk import attribute_cells

#: Fewer people than this are too few to say anything of their group.
SMALL_GROUP = 10


def worst_person(
    success: NDArray, cells: NDArray[np.int64], exchanged: NDArray[np.int64]
) -> dict[str, Any]:
    """The highest success of one person, and how many are named far more often than chance.

    Who they are is not said. The few images of one person reach much by chance, so both figures
    stand beside their mean over people exchanged inside their cells. People alone in their cell
    are left out: the attributes name them, whatever the images show.

    Parameters
    ----------
    success : ndarray of shape (n_people, n_people)
        Everybody's success (rows) if their images were those of anybody (columns).
    cells : ndarray of shape (n_people,)
    exchanged : ndarray of shape (n_permutations, n_people)

    Returns
    -------
    dict
        ``worst_person_risk``, ``worst_person_null``, ``people_above_twice_floor`` (a number of
        people), ``people_above_twice_floor_null``.
    """
    size = np.bincount(cells)[cells]
    shared = np.flatnonzero(size > 1)
    if not len(shared):
        return {
            "worst_person_risk": float("nan"),
            "worst_person_null": float("nan"),
            "people_above_twice_floor": 0,
            "people_above_twice_floor_null": 0.0,
        }
    true = success[shared, shared]
    null = success[shared, exchanged[:, shared]]
    twice = 2 / size[shared] + 1e-9
    return {
        "worst_person_risk": float(true.max()),
        "worst_person_null": float(null.max(axis=1).mean()),
        "people_above_twice_floor": int((true > twice).sum()),
        "people_above_twice_floor_null": float((null > twice).sum(axis=1).mean()),
    }


def people_table(
    attributes: pd.DataFrame | None, people: NDArray[np.int64], cells: NDArray[np.int64]
) -> pd.DataFrame:
    """Cell and kept attributes of everybody, most frequent combination, without names.

    Parameters
    ----------
    attributes : DataFrame of shape (n_samples, n_attributes), optional
    people : ndarray of shape (n_samples,)
        -1 where an image is nobody's.
    cells : ndarray of shape (n_people,)

    Returns
    -------
    DataFrame of shape (n_people, 1 + n_attributes)
        Columns ``cell`` and the attributes.
    """
    table = pd.DataFrame({"cell": cells})
    if attributes is None:
        return table
    names = attribute_cells(people, attributes)
    own = [names[people == code][0].split("\x1f") for code in range(len(cells))]
    return pd.concat([table, pd.DataFrame(own, columns=attributes.columns)], axis=1)


def group_table(
    success: NDArray[np.float64], people: pd.DataFrame, *, seed: int = 0
) -> pd.DataFrame:
    """In-cell excess of every group of every kept attribute.

    Parameters
    ----------
    success : ndarray of shape (n_people,)
        Rank-1 success of everybody, the true cell being known.
    people : DataFrame of shape (n_people, 1 + n_attributes)
        See :func:`people_table`.
    seed : int, default=0
        Of the resamples.

    Returns
    -------
    DataFrame
        Index ``attribute``, ``group``; columns ``n_people`` (who share their cell), ``alone``
        (who do not: no image is needed to name them, they do not enter the figures),
        ``in_cell_excess``, ``low``, ``high`` and ``note``: "too small" below ten people, without
        figures, which would be those of a few. Highest excess first.
    """
    cells = people.iloc[:, 0].to_numpy()
    size = np.bincount(cells)[cells]
    excess = success - 1 / size
    rows = []
    for place, attribute in enumerate(people.columns[1:], start=1):
        column = people.iloc[:, place]  # an attribute may be called "cell", too
        for group in sorted(column.unique()):
            inside = (column == group).to_numpy()
            own = excess[inside & (size > 1)]
            small = len(own) < SMALL_GROUP
            low, high = (np.nan, np.nan) if small else interval(own, seed=seed)
            rows.append(
                {
                    "attribute": str(attribute),
                    "group": group,
                    "n_people": len(own),
                    "alone": int((inside & (size == 1)).sum()),
                    "in_cell_excess": np.nan if small else own.mean(),
                    "low": low,
                    "high": high,
                    "note": "too small" if small else "",
                }
            )
    columns = ["n_people", "alone", "in_cell_excess", "low", "high", "note"]
    table = pd.DataFrame(rows, columns=["attribute", "group", *columns])
    # Small groups are no ranking: they come after the others.
    order = ["note", "in_cell_excess"]
    return table.sort_values(order, ascending=[True, False]).set_index(["attribute", "group"])
