"""ACT: lerobot's `ACTPolicy` with a narrow ResNet; it is shown pictures and told nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lerobot.policies.act.configuration_act import ACTConfig
from lerobot.policies.act.modeling_act import ACTPolicy
from lerobot.policies.act.processor_act import make_act_pre_post_processors
from torch import Tensor, nn

from vlascope_adapters.lerobot.act import narrow_backbones
from vlascope_adapters.lerobot.checkpoint import Processors
from vlascope_adapters.lerobot.policy import STATE
from vlascope_adapters.offline import seeded
from vlascope_zoo.architecture import Architecture, Batch, Statistics
from vlascope_zoo.architectures import saving
from vlascope_zoo.features import VIEW, dataset_statistics, features, lerobot_batch
from vlascope_zoo.recipe import Recipe

__all__ = ["ACT"]


class ACT(Architecture):
    """`sizes` are fields of upstream's `ACTConfig`."""

    def build(self, recipe: Recipe, statistics: Statistics, folder: Path) -> nn.Module:
        """A ResNet of four blocks, encoder, decoder and the encoder of the variational latent."""
        config = ACTConfig(
            **features(),
            device="cpu",
            pretrained_backbone_weights=None,
            chunk_size=recipe.horizon,
            n_action_steps=recipe.executed,
            **recipe.sizes,
        )
        pipelines = make_act_pre_post_processors(config, dataset_statistics(statistics))
        self._processors = Processors(*pipelines)
        with seeded(recipe.seed), narrow_backbones():
            policy = ACTPolicy(config)
        _calibrate(policy, self._processors.before, statistics)
        return policy

    def loss(self, policy: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        """Absolute error, and the divergence of the latent; upstream masks the padding."""
        loss, _ = policy(self._processors.before(lerobot_batch(batch)))
        return loss

    def save(self, policy: Any, folder: Path) -> None:
        """Config, half-precision weights and both pipelines."""
        saving.write(policy, self._processors, folder)


@torch.no_grad()
def _calibrate(policy: Any, before: Any, statistics: Statistics) -> None:
    """Set the ResNet's frozen norms to the statistics of what passes them.

    A published ACT starts from a trained ResNet and takes its norms over; those of a fresh one
    would be the identity for ever.
    """
    picture = statistics.pixels.permute(0, 3, 1, 2).float() / 255
    rows = len(picture)
    batch = before({VIEW: picture, STATE: torch.zeros(rows, 4)})
    seen = batch[VIEW]
    backbone = policy.model.backbone

    def measure(norm: Any, given: tuple[Tensor]) -> None:
        norm.running_mean.copy_(given[0].mean((0, 2, 3)))
        norm.running_var.copy_(given[0].var((0, 2, 3)) + 1e-4)

    norms = [m for m in backbone.modules() if hasattr(m, "running_var")]
    handles = [norm.register_forward_pre_hook(measure) for norm in norms]
    backbone(seen)
    for handle in handles:
        handle.remove()
