"""Who attacks: the attackers by name, and as "quick", "standard" and "thorough"."""

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
    """Attackers by name; objects pass through.

    Parameters
    ----------
    attackers : {"quick", "standard", "thorough"} or sequence of names and objects
    anonymizer : EDIALSAnonymizer or None
    seed : int
        Of the networks.

    Raises
    ------
    ValueError
        If a name is none of ours.
    """
    encode = getattr(anonymizer, "autoencoder_", None)
    pixels, latents = PixelAttacker(), LatentAttacker(encode)
    linear: list[Any] = [pixels, ContextAttacker(), PairAttacker(encode), ReverseAttacker(pixels)]
    if encode is not None:
        linear = [latents, LogisticAttacker(encode), *linear, ReverseAttacker(latents)]

    def network(name: str, kind: str, **settings: Any) -> ClassifierAttacker:
        model = IdentityClassifier(**{"random_state": seed, "patience": 99, **settings})
        gallery_kind = "released" if kind == "parrot" else "clear"
        return ClassifierAttacker(model, name, gallery_kind, kind)

    # Proving itself on clear photos is all that the static role of a network needs.
    static = network("network of clear photos", "naive")
    retrained = RoleAttacker(static, "network, retrained", kind="parrot")
    poison = RoleAttacker(static, f"reverse: {retrained.name}", probe_kind="clear", kind="reverse")
    # Another architecture, seed and loss than the recogniser that an anonymizer holds.
    unseen = network("unseen network", "unseen", depth=1, margin=0.0, random_state=seed + 2)
    standard = [*linear, static, unseen, retrained, poison]
    second = network(
        "second network, retrained", "parrot", depth=1, margin=0.2, random_state=seed + 1
    )
    thorough = [*standard, second, InversionAttacker(random_state=seed)]
    named = {"quick": linear, "standard": standard, "thorough": thorough}
    if isinstance(attackers, str):
        if attackers not in named:
            raise ValueError(f"attackers={attackers!r}; expected one of {sorted(named)}.")
        return named[attackers]
    if not isinstance(attackers, Iterable) or not list(attackers):
        raise ValueError(
            f"attackers={attackers!r}; expected one of {sorted(named)}, or a list of names and "
            f"objects with at least one of them."
        )
    known = {attacker.name: attacker for attacker in thorough}
    unknown = [a for a in attackers if isinstance(a, str) and a not in known]
    if unknown:
        raise ValueError(f"attackers names {unknown}; expected some of {sorted(known)}.")
    return [known[a] if isinstance(a, str) else a for a in attackers]
