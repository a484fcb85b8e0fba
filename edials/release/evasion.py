"""Evasion, the published loop: push features until a classifier no longer names the person."""

from __future__ import annotations

from collections.abc import Callable

import torch

# The first step tried, about half way on faces of LFW.
_FIRST_STEP = 8


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
    """Push features against their attribution until the person is no longer recognised.

    The published path, for a batch: features in the order of their attribution, one more per step,
    later half as many again and ``growth`` times as far. The norm around the centre is kept. Every
    row takes the least step, from 1, at which it is not recognised. The step is bracketed, then
    bisected, so a row that is recognised again later may take a later step, but never one at which
    it was recognised.

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
    late = (torch.arange(max_steps + 1, device=coordinates.device) - single_steps).clamp_min(0)
    features = (torch.arange(max_steps + 1).clamp_max(single_steps).to(late) * 1.5**late)[:, None]
    reach = (growth**late)[:, None]

    def at(step: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        offset = deviation[rows] + reach[step] * towards[rows] * (rank[rows] < features[step])
        return centre + offset * (norm[rows] / offset.norm(dim=1, keepdim=True).clamp_min(1e-12))

    # The last step known to be recognised, and the first known not to be, once there is one.
    low = torch.zeros(len(coordinates), dtype=torch.int64, device=coordinates.device)
    high = torch.full_like(low, max_steps + 1)
    while len(active := torch.nonzero(high - low > 1).squeeze(1)):
        below, above = low[active], high[active]
        open_ended = above > max_steps
        further = (2 * below).clamp(min=_FIRST_STEP, max=max_steps)
        step = torch.where(open_ended, further, (below + above) // 2)
        recognised_now = recognised(at(step, active), active).to(low.device)
        low[active] = torch.where(recognised_now, step, below)
        high[active] = torch.where(recognised_now, above, step)
    steps = torch.where(high <= max_steps, high, -1)
    return at(high.clamp_max(max_steps), torch.arange(len(low), device=low.device)), steps
