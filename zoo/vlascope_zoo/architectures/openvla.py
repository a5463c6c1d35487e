"""OpenVLA: the native class of vlascope's adapter, trained to say actions token by token."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from vlascope_adapters.offline import seeded
from vlascope_adapters.openvla.adapter import OpenVLAAdapter
from vlascope_adapters.openvla.decoding import bin_centres
from vlascope_adapters.openvla.network import OpenVLA as Network
from vlascope_adapters.openvla.network import Padded
from vlascope_adapters.openvla.saving import save_checkpoint
from vlascope_zoo.architecture import Architecture, Batch, Statistics
from vlascope_zoo.architectures import beginnings, prismatic
from vlascope_zoo.architectures.prismatic import DATASET, ROBOT
from vlascope_zoo.recipe import Recipe

__all__ = ["OpenVLA", "tokens_of"]

_RANGE = 2.0
"""From the lowest scaled action to the highest."""


class OpenVLA(Architecture):
    """One camera and words; each look gives one action, each of its numbers a token."""

    _adapter: OpenVLAAdapter

    def build(self, recipe: Recipe, statistics: Statistics, folder: Path) -> nn.Module:
        """Both towers, projector and Llama; nothing is read from `folder`.

        Raises:
            ValueError: the recipe wants chunks.
        """
        if recipe.horizon != 1:
            raise ValueError(f"OpenVLA says one action a look: horizon 1, not {recipe.horizon}")
        widths = prismatic.Widths.model_validate(recipe.sizes)
        release = prismatic.release_for(widths, statistics)
        with seeded(recipe.seed), torch.no_grad():
            network = Network(release.architecture)
            prismatic.begin(network, widths, statistics)
            _order_actions(network)
        prismatic.attend_plainly(network)
        self._adapter = OpenVLAAdapter(network, release, ROBOT, DATASET)
        return network

    def loss(self, policy: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        """Cross entropy of the action's tokens and of </s>, each after those before it as shown."""
        adapter, release = self._adapter, self._adapter.release
        network, shape = adapter.model, release.architecture
        shown = adapter.bounds["action"].scaled(batch.actions[:, 0])
        ids = tokens_of(shown, shape.first_free_id, shape.n_action_bins)
        said = functional.pad(ids, (0, 1), value=release.prompter.stop)
        prompts = prismatic.told(release, batch.instructions)
        logits = _scores(
            network,
            prismatic.seen(release, batch.pictures, generator),
            [torch.cat(pair) for pair in zip(prompts, said, strict=True)],
            said.shape[1],
        )
        return functional.cross_entropy(logits.float().flatten(0, 1), said.flatten())

    def save(self, policy: nn.Module, folder: Path) -> None:
        """The hub's layout in 16-bit numbers."""
        policy.half()
        save_checkpoint(self._adapter, folder)
        policy.float()


def tokens_of(scaled: Tensor, first_free_id: int, n_bins: int) -> Tensor:
    """Ids of scaled actions -1..1, same shape, as upstream's tokenizer has them."""
    return first_free_id - torch.from_numpy(np.digitize(scaled, np.linspace(-1, 1, n_bins)))


def _scores(network: Network, pictures: Tensor, words: list[Tensor], last: int) -> Tensor:
    """What is expected in place of each row's `last` words, (batch, last, vocabulary)."""
    pairs = zip(network.embedded(words), network.seen([pictures]), strict=True)
    given = Padded.of([torch.cat([row[:1], image, row[1:]]) for row, image in pairs])
    logits: Tensor = network.language_model(
        inputs_embeds=given.embeddings,
        attention_mask=given.mask(causal=True),
        position_ids=given.positions,
        use_cache=False,
        logits_to_keep=last + 1,
    ).logits
    return logits[:, :-1]


def _order_actions(network: Network) -> None:
    """Tokens of like actions begin alike, where they are read and where they are said.

    Upstream learns the order of its bins from 970,000 demonstrations.
    """
    shape, llama = network.architecture, network.language_model
    end, n_bins = shape.first_free_id, shape.n_action_bins
    values = bin_centres(n_bins).flip(0)
    width = llama.config.hidden_size
    told = beginnings.sines(torch.cat([values[:1], values]), width, longest=2 * _RANGE)
    llama.get_input_embeddings().weight[end - n_bins : end] = 0.5 * told
    llama.lm_head.weight[end - n_bins : end] = told / width**0.5
