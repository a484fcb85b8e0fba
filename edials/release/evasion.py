"""What is done to the features: which are replaced, chosen once, and how evasion pushes them away.

Pure functions; what they are replaced by is drawn in :mod:`edials.latent.surrogates`. Coordinates
are rows of shape (n, n_features).
"""

from __future__ import annotations

from collections.abc import Callable

import torch

# Where the search along the path of evasion begins: about half way, in faces of LFW.
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
    """Push the features that speak most for the person back, until they are no longer recognised.

    The published loop's path, for a batch: features in the order of their attribution, one more
    feature each step, then half as many again and ``growth`` times as far. A feature moves to the
    side where it speaks against the person, and the norm around the centre is kept. Every row takes
    the least step at which it is not recognised, and one at least. It is bracketed, then bisected,
    so a row that is recognised again beyond a step where it was not may take a later one; it never
    takes one at which it was recognised.

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
        pushed = deviation[rows] + reach[step] * towards[rows] * (rank[rows] < features[step])
        return centre + pushed * (norm[rows] / pushed.norm(dim=1, keepdim=True).clamp_min(1e-12))

    # The last step known to be recognised, and the first known not to be, once there is one.
    low = torch.zeros(len(coordinates), dtype=torch.int64, device=coordinates.device)
    high = torch.full_like(low, max_steps + 1)
    while len(active := torch.nonzero(high - low > 1).squeeze(1)):
        below, above = low[active], high[active]
        open_ended = above > max_steps
        further = (2 * below).clamp(min=_FIRST_STEP, max=max_steps)
        step = torch.where(open_ended, further, (below + above) // 2)
        still = recognised(at(step, active), active).to(low.device)
        low[active] = torch.where(still, step, below)
        high[active] = torch.where(still, above, step)
    found = high <= max_steps
    steps = torch.where(found, high, -1)
    return at(high.clamp_max(max_steps), torch.arange(len(low), device=low.device)), steps
