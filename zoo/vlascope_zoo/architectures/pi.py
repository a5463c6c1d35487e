"""pi0 and pi0.5 at small width: lerobot's `PI0Policy` and `PI05Policy`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from lerobot.policies.factory import get_policy_class, make_policy_config
from lerobot.utils.constants import OBS_LANGUAGE_ATTENTION_MASK, OBS_LANGUAGE_TOKENS
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

from vlascope_adapters.lerobot.checkpoint import Processors
from vlascope_adapters.lerobot.pi_prompts import offline_processors
from vlascope_adapters.lerobot.pi_sizes import Gemma, SigLIP, Sizes, sized
from vlascope_adapters.offline import seeded
from vlascope_zoo.architecture import Architecture, Batch, Statistics
from vlascope_zoo.architectures import beginnings, saving, words
from vlascope_zoo.features import dataset_statistics, features, lerobot_batch
from vlascope_zoo.recipe import Recipe

__all__ = ["Pi0", "Pi05"]

_PIXELS = 96
_ENGINE = "paligemma_with_expert"
_LAST = ("o_proj.weight", "down_proj.weight", "out_proj.weight", "fc2.weight")
_NUMBERS = range(-1, 256)
"""What pi0.5 writes a number of the state as."""


class _Sizes(BaseModel):
    """What a recipe says.

    Attributes:
        prompt: tokens of a padded prompt.
        denoise_steps: from noise to actions.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    vision: dict[str, int]
    vlm: dict[str, int]
    expert: dict[str, int]
    prompt: int
    denoise_steps: int = 5

    def of(self, vocabulary: int) -> Sizes:
        """The same, for the network."""
        return Sizes(
            SigLIP(**self.vision), Gemma(**self.vlm), Gemma(**self.expert), words=vocabulary
        )


class _Pi(Architecture):
    """What both share. The network is built, trained and saved by upstream's own classes."""

    kind: ClassVar[str]
    whole: ClassVar[tuple[str, ...]] = ()
    processors: Processors
    tokenizer: PreTrainedTokenizerFast

    def build(self, recipe: Recipe, statistics: Statistics, folder: Path) -> nn.Module:
        """Unit gain everywhere, places of patches known, patches as pictures have them."""
        told = _Sizes.model_validate(recipe.sizes)
        config = make_policy_config(
            self.kind,
            **features(),
            device="cpu",
            image_resolution=(_PIXELS, _PIXELS),
            chunk_size=recipe.horizon,
            n_action_steps=recipe.executed,
            num_inference_steps=told.denoise_steps,
            max_state_dim=4,
            max_action_dim=4,
            tokenizer_max_length=told.prompt,
        )
        specials = {"pad_token": "<pad>", "eos_token": "<eos>", "bos_token": "<bos>"}
        self.tokenizer = words.tokenizer(specials, whole=self.whole)
        sizes = told.of(len(self.tokenizer) + 1)  # the last id stands for pictures
        with seeded(recipe.seed), sized(self.kind, sizes):
            policy = get_policy_class(self.kind)(config)
            self._begin(policy.model, sizes, statistics)
        self.processors = offline_processors(config, dataset_statistics(statistics), self.tokenizer)
        return policy

    def loss(self, policy: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        """Flow matching: the mean squared error of velocities, over actions that exist."""
        upstream: Any = policy
        ready = self.processors.before(lerobot_batch(batch))
        actions = upstream.prepare_action(ready)
        errors = upstream.model(
            *upstream._preprocess_images(ready),
            ready[OBS_LANGUAGE_TOKENS],
            ready[OBS_LANGUAGE_ATTENTION_MASK],
            *self._state(upstream, ready),
            actions,
            upstream.model.sample_noise(actions.shape, actions.device),
            upstream.model.sample_time(len(actions), actions.device),
        )
        loss: Tensor = errors[batch.valid].mean()
        return loss

    def save(self, policy: nn.Module, folder: Path) -> None:
        """As lerobot does; `tokenizer.json` lies beside, where PaliGemma's is not at hand."""
        saving.write(policy, self.processors, folder)
        self.tokenizer.save_pretrained(folder)

    def _state(self, upstream: Any, ready: Mapping[str, Any]) -> tuple[Tensor, ...]:
        """What upstream's training step takes of the state beside the prompt."""
        return ()

    def _begin(self, network: Any, sizes: Sizes, statistics: Statistics) -> None:
        """Weights to begin with, from torch's generator."""
        beginnings.draw(network, _LAST, sizes.vlm.depth)
        engine = network.get_submodule(_ENGINE)
        tower = engine.paligemma.model.vision_tower.vision_model
        tower.config._attn_implementation = "eager"  # twice as fast to train at this size
        seen, side = tower.embeddings, _PIXELS // sizes.vision.patch
        with torch.no_grad():
            seen.position_embedding.weight.copy_(
                beginnings.sines_2d(side, side, sizes.vision.width)
            )
            weight, bias = beginnings.patch_filters(
                statistics.pixels, sizes.vision.patch, sizes.vision.width
            )
            seen.patch_embedding.weight.copy_(weight)
            seen.patch_embedding.bias.copy_(bias)
            network.action_out_proj.weight.mul_(0.1)
            for head in (engine.paligemma.lm_head, engine.gemma_expert.lm_head):
                head.weight.zero_()  # read by nobody


class Pi0(_Pi):
    """pi0 (arXiv:2410.24164): the state is a token of the expert."""

    kind = "pi0"

    def _state(self, upstream: Any, ready: Mapping[str, Any]) -> tuple[Tensor, ...]:
        return (upstream.prepare_state(ready),)


class Pi05(_Pi):
    """pi0.5 (arXiv:2504.16054): the state is text, the time is told to the expert's norms.

    Each number from -1 to 255 is one token here, and numbers begin as their sines: that 127 is
    next to 128 is known to a pre-trained language model and takes this one too long to find out.
    """

    kind = "pi05"
    whole = ("Task:", ", State:", ";\nAction: ", *(f" {number}" for number in _NUMBERS))

    def _begin(self, network: Any, sizes: Sizes, statistics: Statistics) -> None:
        super()._begin(network, sizes, statistics)
        engine, width = network.get_submodule(_ENGINE), sizes.vlm.width
        embedding = engine.paligemma.model.language_model.embed_tokens.weight
        ids = self.tokenizer.convert_tokens_to_ids([f" {number}" for number in _NUMBERS])
        waves = beginnings.sines(torch.tensor(_NUMBERS), width, longest=1024.0)
        with torch.no_grad():
            embedding[ids] = waves / width**0.5  # Gemma multiplies by this root
            for norm in (m for m in network.modules() if getattr(m, "dense", None) is not None):
                norm.dense.weight.mul_(0.1)
                norm.dense.bias.zero_()
                norm.dense.bias[-norm.dim :] = 1.0  # gates open
