"""The kept attributes: what may be kept at all, in whose codes, and under which name.

Who keeps an attribute that names people keeps the people.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._labels import AttributeTargets, Labels, encode_attributes, encode_labels
from ..exceptions import IdentityLeakWarning, InvalidLabelsError
from ..metrics.risk import singleton_share

# So many people, each with a label of their own, are no coincidence.
_NAMING = 5


def varied(kept: AttributeTargets | None) -> AttributeTargets | None:
    """The attributes that differ between images, in a table with complete rows."""
    if kept is None:
        return None
    complete = int((kept.codes >= 0).all(axis=1).sum())
    if complete < 2:
        raise InvalidLabelsError(
            f"{complete} images have all of the kept attributes {list(kept.classes)}; expected "
            f"at least two. Leave out the attribute that is missing most."
        )
    constant = [name for name, classes in kept.classes.items() if len(classes) < 2]
    if not constant:
        return kept
    warnings.warn(
        f"The attributes {constant} are the same on every image and keep nothing; they are "
        f"left out.",
        stacklevel=4,
    )
    varied = kept.table().drop(columns=constant)
    return encode_attributes(varied, len(varied)) if varied.shape[1] else None


def check_kept(people: Labels, kept: AttributeTargets | None) -> None:
    """Kept attributes that name people would keep the identity under another name."""
    if kept is None:
        return
    known = people.known
    for column, name in enumerate(kept.classes):
        alone = singleton_share(people.codes[known], kept.codes[known, column])
        if alone == 1 and len(people.classes) >= _NAMING:
            raise InvalidLabelsError(
                f"The kept attribute {name!r} is different for each of {len(people.classes)} "
                f"people, so it would keep who they are. Leave it out of attributes (or y)."
            )
    alone = singleton_share(people.codes[known], kept.codes[known])
    if alone > 0.5:
        warnings.warn(
            f"{alone:.0%} of the people are alone with their kept attributes "
            f"{list(kept.classes)}: whoever knows these knows them. Keep fewer, or coarser.",
            IdentityLeakWarning,
            stacklevel=4,
        )


def in_order_of(
    kept: AttributeTargets | None, known: Mapping[str, NDArray]
) -> AttributeTargets | None:
    """The kept attributes in the codes and the order of a classifier, which transform will use.

    A frozen classifier may know classes that are absent here, or other columns first.
    """
    if kept is None:
        return None
    if set(known) != set(kept.classes):
        raise InvalidLabelsError(
            f"The attribute classifier knows {sorted(known)}, but the kept attributes are "
            f"{sorted(kept.classes)}; expected the same. Fit it on these, or pass None."
        )
    table = kept.table()
    return encode_attributes(table[list(known)], len(table), known)


def check_people(identity: Any, n_samples: int) -> Labels:
    """Who is on each image: at least two people, of whom two have several photos."""
    people = encode_labels(identity, name="identity", n_samples=n_samples)
    if len(people.classes) < 2:
        raise InvalidLabelsError(
            f"identity holds 1 class, {people.classes[0]!r}; expected at least two people."
        )
    several = int((np.bincount(people.codes[people.known]) >= 2).sum())
    if several < 2:
        raise InvalidLabelsError(
            f"{several} people have two images or more; expected at least two, since what tells "
            f"people apart is judged against how their photos differ."
        )
    return people
