"""The attackers by name, and by the levels "quick", "standard" and "thorough"."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ...metrics.linear_attack import LatentAttacker
from ...models.identity_classifier import IdentityClassifier
from .base import (
    ClassifierAttacker,
    ContextAttacker,
    LogisticAttacker,
    PixelAttacker,
    ReverseAttacker,
    RoleAttacker,
)
from .inversion import InversionAttacker
from .pairs import PairAttacker


def make_attackers(attackers: Any, anonymizer: Any, seed: int) -> list[Any]:
    """Attackers by level or by name; objects pass through.

    Attackers use the latents of ``anonymizer``, which may be None. ``seed`` seeds the networks.
    """
    levels = _levels(getattr(anonymizer, "autoencoder_", None), seed)
    if isinstance(attackers, str):
        if attackers not in levels:
            raise ValueError(f"attackers={attackers!r}; expected one of {sorted(levels)}.")
        return levels[attackers]
    if not isinstance(attackers, Iterable) or not list(attackers):
        raise ValueError(
            f"attackers={attackers!r}; expected one of {sorted(levels)}, or a list of names and "
            f"objects with at least one of them."
        )
    by_name = {attacker.name: attacker for attacker in levels["thorough"]}
    unknown = [a for a in attackers if isinstance(a, str) and a not in by_name]
    if unknown:
        raise ValueError(f"attackers names {unknown}; expected some of {sorted(by_name)}.")
    return [by_name[a] if isinstance(a, str) else a for a in attackers]


def _levels(encode: Any, seed: int) -> dict[str, list[Any]]:
    pixels, latents = PixelAttacker(), LatentAttacker(encode)
    quick: list[Any] = [pixels, ContextAttacker(), PairAttacker(encode), ReverseAttacker(pixels)]
    if encode is not None:
        quick = [latents, LogisticAttacker(encode), *quick, ReverseAttacker(latents)]

    def network(name: str, kind: str, **settings: Any) -> ClassifierAttacker:
        # More patience than epochs: attackers are trained to the end.
        model = IdentityClassifier(**{"random_state": seed, "patience": 99, **settings})
        return ClassifierAttacker(model, name, "released" if kind == "parrot" else "clear", kind)

    naive = network("network of clear photos", "naive")
    parrot = RoleAttacker(naive, "network, retrained")
    # Another architecture, seed and loss than the recogniser that an anonymizer holds.
    unseen = network("unseen network", "unseen", depth=1, margin=0.0, random_state=seed + 2)
    second = network(
        "second network, retrained", "parrot", depth=1, margin=0.2, random_state=seed + 1
    )
    standard = [*quick, naive, unseen, parrot, ReverseAttacker(parrot)]
    thorough = [*standard, second, InversionAttacker(random_state=seed)]
    return {"quick": quick, "standard": standard, "thorough": thorough}
