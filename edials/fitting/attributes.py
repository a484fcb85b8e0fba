"""Labels of a fit: are there enough people, and do the attributes leave them in a crowd."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._labels import AttributeTargets, Labels, encode_attributes, encode_labels
from ..exceptions import IdentityLeakWarning, InvalidLabelsError, warn_caller
from ..metrics.risk import singleton_share

# From so many people on, a label of their own for each of them is no coincidence.
_MIN_IDENTIFIED = 5


def check_people(identity: Any, n_samples: int) -> Labels:
    """Encode person labels: at least two people with two images or more."""
    people = encode_labels(identity, name="identity", n_samples=n_samples)
    if len(people.classes) < 2:
        raise InvalidLabelsError(
            f"identity holds 1 class, {people.classes[0]!r}; expected at least two people."
        )
    n_with_pairs = int((np.bincount(people.codes[people.known]) >= 2).sum())
    if n_with_pairs < 2:
        raise InvalidLabelsError(
            f"{n_with_pairs} people have two images or more; expected at least two, since identity "
            f"is measured against the differences between photos of one person."
        )
    return people


def drop_constant(attributes: AttributeTargets | None) -> AttributeTargets | None:
    """Leave out attributes with one class, with a warning; require two complete rows."""
    if attributes is None:
        return None
    n_complete = int((attributes.codes >= 0).all(axis=1).sum())
    if n_complete < 2:
        raise InvalidLabelsError(
            f"{n_complete} images have all of the attributes {list(attributes.classes)}; expected "
            f"at least two. Leave out the attribute that is missing most."
        )
    constant = [name for name, classes in attributes.classes.items() if len(classes) < 2]
    if not constant:
        return attributes
    warn_caller(f"The attributes {constant} are the same on every image and are left out.")
    table = attributes.table().drop(columns=constant)
    return encode_attributes(table, len(table)) if table.shape[1] else None


def check_cells(people: Labels, attributes: AttributeTargets | None) -> None:
    """Refuse an attribute that names people; warn if most people are alone in their cell."""
    if attributes is None:
        return
    labelled = people.known
    for column, name in enumerate(attributes.classes):
        alone = singleton_share(people.codes[labelled], attributes.codes[labelled, column])
        if alone == 1 and len(people.classes) >= _MIN_IDENTIFIED:
            raise InvalidLabelsError(
                f"The attribute {name!r} is different for each of {len(people.classes)} people, so "
                f"keeping it would keep who they are. Leave it out of attributes (or y)."
            )
    alone = singleton_share(people.codes[labelled], attributes.codes[labelled])
    if alone > 0.5:
        warn_caller(
            f"{alone:.0%} of the people are alone with their attributes "
            f"{list(attributes.classes)}: these attributes identify them. Keep fewer, or coarser.",
            IdentityLeakWarning,
        )


def align_to_classes(
    attributes: AttributeTargets | None, classes: Mapping[str, NDArray]
) -> AttributeTargets | None:
    """Attributes in the codes and the column order of a classifier, which transform will use.

    A frozen classifier may know classes that are absent here, or have other columns first.
    """
    if attributes is None:
        return None
    if set(classes) != set(attributes.classes):
        raise InvalidLabelsError(
            f"The attribute classifier knows {sorted(classes)}, but the attributes are "
            f"{sorted(attributes.classes)}; expected the same. Fit it on these, or pass None."
        )
    table = attributes.table()
    return encode_attributes(table[list(classes)], len(table), classes)
