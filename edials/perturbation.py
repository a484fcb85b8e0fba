"""What is done to the features: which are replaced, chosen once, and how evasion pushes them away.

Pure functions; what they are replaced by is drawn in :mod:`edials.surrogates`. Coordinates are rows
of shape (n, n_features).
"""

from __future__ import annotations

import numbers
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray


def choose(order: NDArray[np.int64], strength: float) -> NDArray[np.bool_]:
    """Mark the features to replace: the first ``round(strength * n_features)`` of an order.

    Parameters
    ----------
    order : ndarray of shape (n_features,)
        All features, the first to be replaced first.
    strength : float in [0, 1]

    Returns
    -------
    ndarray of bool, shape (n_features,)

    Raises
    ------
    ValueError
        If the strength is not in [0, 1].
    """
    if not isinstance(strength, numbers.Real) or not 0 <= strength <= 1:
        raise ValueError(f"strength={strength!r}; expected a share of features, from 0 to 1.")
    mask = np.zeros(len(order), dtype=bool)
    mask[order[: round(float(strength) * len(order))]] = True
    return mask


def evade(
    coordinates: torch.Tensor,
    attributions: torch.Tensor,
    centre: torch.Tensor,
    scale: torch.Tensor,
    recognised: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    *,
    single_steps: int = 12,
    max_steps: int = 40,
    growth: float = 1.15,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Push the features that speak most for the person back, until they are no longer recognised.

    The published loop, for a batch: features in the order of their attribution, one more feature
    each step, then half as many again and ``growth`` times as far. A feature moves to the side
    where it speaks against the person, and the norm around the centre is kept. Every row moves
    at least one step, and leaves the batch at its first step that is not recognised.

    Parameters
    ----------
    coordinates, attributions : Tensor of shape (n, n_features)
    centre, scale : Tensor of shape (n_features,)
        Mean and standard deviation of each feature over the background.
    recognised : callable (coordinates (m, n_features), rows (m,)) -> bool Tensor (m,)
        Whether the person is still recognised, with its margin.
    single_steps : int, default=12
        Steps that add one feature each.
    max_steps : int, default=40
    growth : float, default=1.15

    Returns
    -------
    moved : Tensor of shape (n, n_features)
    steps : Tensor of shape (n,), dtype int64
        Steps taken, from 1; -1 where the person was still recognised after ``max_steps``.
    """
    deviation = coordinates - centre
    towards = -torch.sign(attributions) * torch.sign(deviation) * scale
    rank = attributions.abs().argsort(dim=1, descending=True).argsort(dim=1)
    norm = deviation.norm(dim=1, keepdim=True)
    moved, steps = coordinates.clone(), torch.full((len(coordinates),), -1, dtype=torch.int64)
    active = torch.arange(len(coordinates))
    features, reach = 0.0, 1.0
    for step in range(1, max_steps + 1):
        if step <= single_steps:
            features = float(step)
        else:
            features, reach = features * 1.5, reach * growth
        here = active.to(coordinates.device)
        pushed = deviation[here] + reach * towards[here] * (rank[here] < features)
        pushed = pushed * (norm[here] / pushed.norm(dim=1, keepdim=True).clamp_min(1e-12))
        moved[here] = centre + pushed
        still = recognised(moved[here], here).cpu()
        steps[active[~still]] = step
        active = active[still]
        if not len(active):
            break
    return moved, steps
