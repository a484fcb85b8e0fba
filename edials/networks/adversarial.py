"""How the autoencoder is trained: one objective, and two optimisers that alternate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from .inference import inference_copy
from .losses import discriminator_loss, feature_loss, generator_loss, perceptual_loss
from .training import FaceNet


@dataclass(frozen=True)
class LossWeights:
    """Weights of the terms of the autoencoder's objective."""

    reconstruction: float
    perceptual: float
    adversarial: float
    attribute: float
    feature: float


def frozen_backbone(classifier: Any, device: torch.device) -> nn.Module | None:
    """A fitted classifier's backbone, without gradients of its weights.

    None without a classifier, or if its user's own ``module`` has no backbone. As a copy for
    inference it costs three quarters of the time.
    """
    if classifier is None:
        return None
    fitted = getattr(classifier, "estimator", classifier)
    network = getattr(fitted, "module_", None)
    backbone: Any = getattr(network, "backbone", None)
    if hasattr(backbone, "feature_maps"):
        return inference_copy(backbone).to(device, memory_format=torch.channels_last)
    if network is None or getattr(fitted, "module", None) is None:
        raise ValueError(
            f"feature_classifier={classifier!r}; expected None or a fitted AttributeClassifier."
        )
    return None


class AdversarialNet(FaceNet):
    """Two optimisers that alternate: encoder and decoder, then the latent discriminator.

    skorch's own ``train_step`` runs its closure once per optimiser, so it is replaced here. The
    criterion is the attributes' loss.
    ``feature_maps`` of ``features`` should agree for a picture and its reconstruction.
    """

    def __init__(
        self, module: nn.Module, loss_weights: LossWeights, features: Any = None, **settings: Any
    ):
        self.loss_weights, self.features = loss_weights, features
        super().__init__(module, **settings)

    def initialize_optimizer(self, *args: Any, **kwargs: Any) -> AdversarialNet:
        discriminator_params = list(self.module_.discriminator.parameters())
        excluded = {id(parameter) for parameter in discriminator_params}
        autoencoder_params = [p for p in self.module_.parameters() if id(p) not in excluded]
        settings = self.get_params_for("optimizer")
        self.optimizer_ = torch.optim.AdamW(autoencoder_params, betas=(0.9, 0.99), **settings)
        self.discriminator_optimizer_ = torch.optim.AdamW(
            discriminator_params, betas=(0.5, 0.99), fused=settings["fused"]
        )
        return self

    def optimizers(self) -> list[torch.optim.Optimizer]:
        return [self.optimizer_, self.discriminator_optimizer_]

    def infer(self, x: torch.Tensor, **fit_params: Any) -> Any:
        """Latents of images and their reconstructions."""
        with self.autocast():
            latents = self.module_.encoder(x).float()
            return latents, self.module_.decoder(latents).float()

    def get_loss(self, y_pred: Any, y_true: Any, X: Any = None, training: bool = False) -> Any:
        """The objective of encoder and decoder."""
        (latents, reconstructed), weights, module = y_pred, self.loss_weights, self.module_
        feature = attribute = latents.new_zeros(())
        if self.features is not None and weights.feature:
            with self.autocast():
                with torch.no_grad():
                    original = self.features.feature_maps(X)
                feature = feature_loss(self.features.feature_maps(reconstructed), original)
        reconstruction = functional.mse_loss(reconstructed, X)
        perceptual = perceptual_loss(reconstructed, X)
        adversarial = generator_loss(module.discriminator(latents))
        if module.attribute_head is not None:
            attribute = self.criterion_(module.attribute_head(latents), y_true)
        return (
            weights.reconstruction * reconstruction
            + weights.perceptual * perceptual
            + weights.adversarial * adversarial
            + weights.attribute * attribute
            + weights.feature * feature
        )

    def train_step(self, batch: Any, **fit_params: Any) -> dict[str, Any]:
        self.optimizer_.zero_grad()
        step = self.train_step_single(batch)
        nn.utils.clip_grad_norm_(self.optimizer_.param_groups[0]["params"], 5.0)
        self.optimizer_.step()

        latents, discriminator = step["y_pred"][0].detach(), self.module_.discriminator
        loss = discriminator_loss(discriminator(torch.randn_like(latents)), discriminator(latents))
        self.discriminator_optimizer_.zero_grad()
        loss.backward()
        self.discriminator_optimizer_.step()
        return step
