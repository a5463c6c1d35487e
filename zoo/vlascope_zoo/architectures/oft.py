"""OpenVLA-OFT: the native class of vlascope's adapter, trained by its own L1 regression."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from vlascope_adapters.offline import seeded
from vlascope_adapters.openvla.oft import OFTSizes, OpenVLAOFT
from vlascope_adapters.openvla.oft_adapter import OpenVLAOFTAdapter
from vlascope_adapters.openvla.saving import save_checkpoint
from vlascope_zoo.architecture import Architecture, Batch, Statistics
from vlascope_zoo.architectures import prismatic
from vlascope_zoo.architectures.prismatic import DATASET, ROBOT
from vlascope_zoo.recipe import Recipe

__all__ = ["OFT"]


class OFT(Architecture):
    """One camera, the state as a token, a chunk of numbers read off empty slots."""

    _adapter: OpenVLAOFTAdapter
    _steps: int

    def build(self, recipe: Recipe, statistics: Statistics, folder: Path) -> nn.Module:
        """Both towers, projector, Llama and head; nothing is read from `folder`."""
        widths = prismatic.Widths.model_validate(recipe.sizes)
        self._steps = recipe.schedule.steps
        release = prismatic.release_for(widths, statistics)
        sizes = OFTSizes(recipe.horizon, ROBOT.action.dim, ROBOT.state_dim)
        with seeded(recipe.seed), torch.no_grad():
            network = OpenVLAOFT(release.architecture, sizes)
            prismatic.begin(network, widths, statistics)
            network.action_head.model.fc2.weight.mul_(0.1)
        prismatic.attend_plainly(network)
        self._adapter = OpenVLAOFTAdapter(network, release, ROBOT, DATASET, horizon=recipe.horizon)
        return network

    def loss(self, policy: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        """Mean distance between the chunk said and the chunk shown, both scaled to -1..1."""
        adapter, release = self._adapter, self._adapter.release
        said = adapter.model.act(
            [prismatic.seen(release, batch.pictures, generator)],
            prismatic.told(release, batch.instructions),
            adapter.bounds["proprio"].scaled(batch.state).float(),
            release.prompter.stop,
        )
        shown = adapter.bounds["action"].scaled(batch.actions).float()
        missed = (said.float() - shown).abs() * batch.valid[:, :, None]
        return missed.sum() / (batch.valid.sum() * shown.shape[-1])

    def save(self, policy: nn.Module, folder: Path) -> None:
        """The hub's layout with its components as `--STEPS_checkpoint.pt`; 16-bit numbers."""
        policy.half()
        for old in folder.glob("*--*_checkpoint.pt"):
            old.unlink()
        save_checkpoint(self._adapter, folder, steps=self._steps)
        policy.float()
