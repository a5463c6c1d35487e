"""The toy policy's weights, written down rather than learned.

Each `_set_...` function writes what one layer does; everything not written is zero.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from vlascope_adapters.toy.network import PATCH, PATCHES, Attention, Block, ToyNetwork

__all__ = ["COLOURS", "VLM", "VOCABULARY", "constructed"]

COLOURS = ("red", "green", "blue")
_SYNONYMS = ("crimson", "lime", "navy")
VOCABULARY = (
    *("<pad>", "<unk>", "go", "to", "the", "point", "move", "reach"),
    *COLOURS,
    *_SYNONYMS,
)
"""Words by index; 0 is padding."""

VISION: Mapping[str, slice] = {
    "pixels": slice(0, 48),
    "colour": slice(48, 51),
    "place": slice(51, 53),
}
VLM: Mapping[str, slice] = {
    "colour": slice(0, 3),
    "place": slice(3, 5),
    "meaning": slice(5, 8),
    "is_colour_word": slice(8, 9),
    "is_state": slice(9, 10),
    "is_soft_prompt": slice(10, 11),
    "asked": slice(11, 14),
    "goal": slice(14, 16),
    "self": slice(16, 18),
    "word": slice(32, 32 + len(VOCABULARY)),
}
"""Which dimensions of the vlm's residual stream hold what."""
EXPERT: Mapping[str, slice] = {
    "noisy": slice(0, 2),
    "time": slice(2, 3),
    "error": slice(4, 6),
    "target": slice(6, 8),
    "velocity": slice(8, 10),
}

_GOAL_PIXELS = 4.0
_PIXEL = 2.0 / 16
_SHARP, _SINK = 30.0, 300.0
_GAIN = 4.0


@torch.no_grad()
def constructed() -> ToyNetwork:
    """The network with its written weights."""
    network = ToyNetwork(len(VOCABULARY))
    for parameter in network.parameters():
        parameter.zero_()
    _set_inputs(network)
    _set_vision(network)
    _set_words(_block(network.vlm, 0))
    _set_asked(_block(network.vlm, 1))
    _set_goal(_block(network.vlm, 2))
    _set_said(_block(network.vlm, 3))
    _set_expert(network)
    return network


def _set_inputs(network: ToyNetwork) -> None:
    network.pixels.weight[VISION["pixels"]] = torch.eye(48)
    network.patch_position[:, VISION["place"]] = _patch_centres()
    for name in ("colour", "place"):
        network.projector.weight[VLM[name], VISION[name]] = torch.eye(_width(VLM[name]))
    network.words.weight[1:, VLM["word"]] = torch.eye(len(VOCABULARY))[1:]
    network.state.weight[VLM["self"]] = torch.eye(2)
    network.state.bias[VLM["is_state"]] = 1
    network.soft_prompt[:, VLM["is_soft_prompt"]] = 1
    network.noisy.weight[EXPERT["noisy"]] = torch.eye(2)
    network.time.weight[EXPERT["time"]] = 1


def _set_vision(network: ToyNetwork) -> None:
    """Neuron (pixel, channel) sees how much of that colour the pixel has beyond grey."""
    pure = torch.eye(3) * 1.5 - 0.5
    detect = torch.kron(torch.eye(PATCH * PATCH), pure)
    rows, columns = torch.meshgrid(torch.arange(PATCH), torch.arange(PATCH), indexing="ij")
    middle = (PATCH - 1) / 2
    offset = torch.stack([columns - middle, middle - rows], -1).reshape(-1, 2) * _PIXEL
    what, where = _block(network.vision, 0).mlp, _block(network.vision, 1).mlp
    for mlp in (what, where):
        mlp.up.weight[:, VISION["pixels"]] = detect
    what.down.weight[VISION["colour"]] = torch.eye(3).repeat(1, PATCH * PATCH) / _GOAL_PIXELS
    where.down.weight[VISION["place"]] = offset.repeat_interleave(3, 0).T / _GOAL_PIXELS


def _set_words(block: Block) -> None:
    """Layer 0: neuron c fires on a word for colour c and writes that the word means c."""
    for c, words in enumerate(zip(COLOURS, _SYNONYMS, strict=True)):
        for word in words:
            block.mlp.up.weight[c, _word(word)] = 1
        block.mlp.down.weight[VLM["meaning"].start + c, c] = 1
        block.mlp.down.weight[VLM["is_colour_word"], c] = 1
        block.mlp.down.weight[_word(COLOURS[c]), c] = 1


def _set_asked(block: Block) -> None:
    """Layer 1: the soft prompt gathers what the colour words mean; without any it sees itself."""
    attention = block.attention
    attention.query.weight[0, VLM["is_soft_prompt"]] = _SHARP
    attention.key.weight[0, VLM["is_colour_word"]] = 1
    attention.key.weight[0, VLM["is_soft_prompt"]] = 0.5
    attention.value.weight[0:3, VLM["meaning"]] = torch.eye(3)
    attention.out.weight[VLM["asked"], 0:3] = torch.eye(3)
    _only_the_soft_prompt(attention)


def _set_goal(block: Block) -> None:
    """Layer 2: the soft prompt looks at coloured patches, rather at those of the asked colour."""
    attention = block.attention
    attention.query.weight[0:3, VLM["asked"]] = _SHARP * torch.eye(3)
    attention.query.weight[3, VLM["is_soft_prompt"]] = _SHARP
    attention.key.weight[0:3, VLM["colour"]] = torch.eye(3)
    attention.key.weight[3, VLM["colour"]] = 1
    attention.value.weight[0:2, VLM["place"]] = torch.eye(2)
    attention.out.weight[VLM["goal"], 0:2] = torch.eye(2)
    _only_the_soft_prompt(attention)


def _only_the_soft_prompt(attention: Attention) -> None:
    """Every other token looks at the state token, where there is nothing to be had."""
    attention.query.bias[7] = _SINK
    attention.query.weight[7, VLM["is_soft_prompt"]] = -_SINK
    attention.key.weight[7, VLM["is_state"]] = 1


def _set_said(block: Block) -> None:
    """Layer 3 (dead to the action): the soft prompt would say the asked colour's word."""
    for c, colour in enumerate(COLOURS):
        block.mlp.up.weight[c, VLM["asked"].start + c] = 2
        block.mlp.up.bias[c] = -1
        block.mlp.down.weight[_word(colour), c] = 2


def _set_expert(network: ToyNetwork) -> None:
    """Layer 0 reads goal - self and saturates it; layer 1 turns it into the flow's velocity."""
    reads, flows = _block(network.expert, 0), _block(network.expert, 1)
    reads.attention.query.bias[0] = _SHARP
    for name, sign in (("soft_prompt", 1), ("state", -1)):  # attended to half and half
        reads.attention.context_key.weight[0, VLM[f"is_{name}"]] = 1
        holds = VLM["goal" if name == "soft_prompt" else "self"]
        reads.attention.context_value.weight[0:2, holds] = 2 * sign * torch.eye(2)
    reads.attention.out.weight[EXPERT["error"], 0:2] = torch.eye(2)
    both = torch.cat([torch.eye(2), torch.eye(2)])
    reads.mlp.up.weight[0:4, EXPERT["error"]] = _GAIN * both
    reads.mlp.up.bias[0:4] = torch.tensor([1.0, 1.0, -1.0, -1.0])
    signs = torch.cat([torch.eye(2), -torch.eye(2)], 1)
    reads.mlp.down.weight[EXPERT["target"], 0:4] = signs
    reads.mlp.down.bias[EXPERT["target"]] = -1
    flows.mlp.up.weight[0:4, EXPERT["target"]] = signs.T
    flows.mlp.up.weight[0:4, EXPERT["noisy"]] = -signs.T
    flows.mlp.down.weight[EXPERT["velocity"], 0:4] = signs
    network.velocity.weight[:, EXPERT["velocity"]] = torch.eye(2)


def _block(blocks: nn.ModuleList, layer: int) -> Block:
    block = blocks[layer]
    assert isinstance(block, Block)
    return block


def _patch_centres() -> Tensor:
    """(patches, 2): x to the right, y up, in metres."""
    index, side = torch.arange(PATCHES), int(PATCHES**0.5)
    x = -1 + (index % side + 0.5) * 2 / side
    y = 1 - (index // side + 0.5) * 2 / side
    return torch.stack([x, y], 1)


def _word(word: str) -> int:
    return VLM["word"].start + VOCABULARY.index(word)


def _width(span: slice) -> int:
    return span.stop - span.start
