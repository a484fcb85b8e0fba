"""Errors and warnings; each error but the base is also a standard Python one."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence


class EdialsError(Exception):
    """Base class of every error that edials raises on purpose."""


class InvalidImageError(EdialsError, ValueError):
    """Images have a shape, dtype or range that cannot be read as RGB pictures."""


class InvalidLabelsError(EdialsError, ValueError):
    """Identities or attributes are missing, misaligned or too few to learn from."""


class UnreadableImageError(EdialsError, OSError):
    """A file is not an image that can be opened."""


class WithheldImageError(EdialsError, RuntimeError):
    """Some images could not be certified even at strength 1, and ``on_failure="raise"``."""


class ModelFileError(EdialsError, ValueError):
    """A model cannot be written without pickle, or a file is not one that can be read."""


class IdentityLeakWarning(UserWarning):
    """A release reveals identity in a known way.

    It fires when images had to be withheld; at strength 0; with ``perturbation="evade"``; when most
    people are alone in their attribute cell; when attributes that are misclassified consistently
    reveal more than the risk budget; and when certificates rest on a recogniser with a low true
    match rate.
    """


class CalibrationWarning(UserWarning):
    """``strength="auto"`` could not be shown to stay within its budget, so strength 1 is used.

    At strength 1 every feature is replaced. What consistently misclassified attributes reveal was
    not measured.
    """


def warn_caller(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the line that called edials, however deep inside the fault was found."""
    # Methods are called through these: decorators, scikit-learn's wrappers and meta-estimators.
    inside = ("edials", "contextlib", "sklearn", "joblib")
    frame, level = sys._getframe(1), 2
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] in inside:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def first_few(names: Sequence[object]) -> str:
    """The first ten of many names, for a message."""
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return ", ".join(repr(name) for name in names[:10]) + more
