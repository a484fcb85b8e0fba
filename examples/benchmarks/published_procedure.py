"""The published procedure, plainly: one image at a time, rules of a decision tree, no batch.

What the speed of edials is measured against, on identical networks. For an image: 240 neighbours of
its latents, decoded and named by the recogniser; a decision tree that tells the neighbours named as
the image from the others; the features its rule for the image asks about pushed across their
thresholds, further each step, until the recogniser names somebody else. It stops at the first
misclassification of its own recogniser, which is why edials does not do this.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.tree import DecisionTreeClassifier

NEIGHBOURS, SPREAD, MOST_STEPS = 240, 1.0, 20


@torch.inference_mode()
def anonymize_one(autoencoder: Any, recogniser: Any, image: np.ndarray, seed: int = 0) -> Any:
    """Distort one image (height, width, 3) until it is named otherwise; float32 throughout."""
    encoder, decoder = autoencoder.module_.encoder, autoencoder.module_.decoder

    def named(latents: torch.Tensor) -> int:
        return int(recogniser.logits_tensor(decoder(latents[None]).clamp(0, 1)).argmax())

    generator = np.random.default_rng(seed)
    picture = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    latents = encoder(picture)[0]
    person = int(recogniser.logits_tensor(picture).argmax())
    noise = generator.standard_normal((NEIGHBOURS, len(latents))).astype(np.float32)
    neighbours = latents + SPREAD * torch.from_numpy(noise)
    same = np.array([named(neighbour) == person for neighbour in neighbours])
    tree = DecisionTreeClassifier(max_depth=8, random_state=seed).fit(neighbours.numpy(), same)
    told = tree.tree_
    path = tree.decision_path(latents[None].numpy()).indices
    asked = [node for node in path if told.children_left[node] >= 0]
    moved = latents.clone()
    for step in range(1, MOST_STEPS + 1):
        for node in asked:
            feature, threshold = int(told.feature[node]), float(told.threshold[node])
            side = 1.0 if latents[feature] <= threshold else -1.0
            moved[feature] = threshold + side * 0.25 * step
        if named(moved) != person:
            break
    return decoder(moved[None]).clamp(0, 1)[0]
