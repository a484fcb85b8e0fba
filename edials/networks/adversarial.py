"""How the autoencoder is trained: its objective, and two optimisers in turn."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from .inference import fuse_for_inference
from .losses import (
    attribute_loss,
    discriminator_loss,
    feature_loss,
    generator_loss,
    perceptual_loss,
)
from .training import FaceNet, use_fused_optimizer


class LossWeights:
    """Weights of the terms, in the order of the class docstring."""

    def __init__(
        self,
        reconstruction: float,
        perceptual: float,
        adversarial: float,
        kept: float,
        features: float,
    ):
        self.reconstruction, self.perceptual = reconstruction, perceptual
        self.adversarial, self.kept, self.features = adversarial, kept, features


def features_of(classifier: Any, device: torch.device) -> nn.Module | None:
    """A fitted classifier's backbone, without gradients of its own; None without one.

    It costs three quarters of the time once batch normalisation is folded into convolutions.
    """
    inside = getattr(classifier, "estimator", classifier)
    backbone = getattr(getattr(inside, "module_", None), "backbone", None)
    if backbone is None or not hasattr(backbone, "feature_maps"):
        return None
    copied = copy.deepcopy(backbone).to(device, memory_format=torch.channels_last)
    return fuse_for_inference(copied.eval()).requires_grad_(False)


class AdversarialNet(FaceNet):
    """Two optimisers in turn: encoder and decoder, then the discriminator.

    skorch's own ``train_step`` runs its closure once per optimiser, so it is replaced here.
    """

    def __init__(
        self,
        module: nn.Module,
        terms: LossWeights | None = None,
        features: Any = None,
        sizes: Any = (),
        class_weights: Any = (),
        **kwargs: Any,
    ):
        self.terms, self.sizes, self.class_weights = terms, sizes, class_weights
        self.features = features
        super().__init__(module, **kwargs)

    def initialize_optimizer(self, *args: Any, **kwargs: Any) -> AdversarialNet:
        module = self.module_
        theirs = list(module.discriminator.parameters())
        marked = {id(parameter) for parameter in theirs}
        ours = [p for p in module.parameters() if id(p) not in marked]
        settings: dict[str, Any] = {"fused": use_fused_optimizer(torch.device(self.device))}
        self.optimizer_ = torch.optim.AdamW(
            ours, weight_decay=self.weight_decay, betas=(0.9, 0.99), **settings
        )
        self.discriminator_optimizer_ = torch.optim.AdamW(theirs, betas=(0.5, 0.99), **settings)
        return self

    def optimizers(self) -> list[torch.optim.Optimizer]:
        return [self.optimizer_, self.discriminator_optimizer_]

    def objective_terms(
        self, images: torch.Tensor, codes: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The encoder's and decoder's loss, and the latents it was computed on."""
        module, terms = self.module_, self.terms
        assert terms is not None
        with self.autocast():
            latents = module.encoder(images).float()
            reconstructed = module.decoder(latents).float()
            seen = latents.new_zeros(())
            if self.features is not None and terms.features:
                with torch.no_grad():
                    original = self.features.feature_maps(images)
                seen = feature_loss(self.features.feature_maps(reconstructed), original)
        reconstruction = functional.mse_loss(reconstructed, images)
        perceptual = perceptual_loss(reconstructed, images)
        adversarial = generator_loss(module.discriminator(latents))
        kept = latents.new_zeros(())
        if module.attribute_head is not None:
            logits = module.attribute_head(latents)
            kept = attribute_loss(logits, codes, self.sizes, self.class_weights)
        loss = (
            terms.reconstruction * reconstruction
            + terms.perceptual * perceptual
            + terms.adversarial * adversarial
            + terms.kept * kept
            + terms.features * seen
        )
        return loss, latents.detach()

    def train_step(self, batch: Any, **fit_params: Any) -> dict[str, Any]:
        images, codes = batch
        self._set_training(True)
        loss, latents = self.objective_terms(images, codes)
        self.optimizer_.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.optimizer_.param_groups[0]["params"], 5.0)
        self.optimizer_.step()

        discriminator = self.module_.discriminator
        distinction = discriminator_loss(
            discriminator(torch.randn_like(latents)), discriminator(latents)
        )
        self.discriminator_optimizer_.zero_grad()
        distinction.backward()
        self.discriminator_optimizer_.step()
        return {"loss": loss.detach(), "y_pred": latents}

    def validation_step(self, batch: Any, **fit_params: Any) -> dict[str, Any]:
        images, codes = batch
        self._set_training(False)
        with torch.no_grad():
            loss, latents = self.objective_terms(images, codes)
        return {"loss": loss, "y_pred": latents}
