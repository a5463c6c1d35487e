"""A trained TinyVLA on disk: `policy.safetensors`, described by `policy.json` beside it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load as read_tensors
from safetensors.torch import save as tensors_to_bytes
from torch import Tensor

from vlascope.errors import ChecksumMismatch, CorruptFile
from vlascope.specs import ActionSpec, StateSpec
from vlascope_adapters.tinyvla.batches import Normalisation, Scales
from vlascope_adapters.tinyvla.config import NetworkConfig
from vlascope_adapters.tinyvla.network import TinyVLA
from vlascope_adapters.tinyvla.recipe import SHIPPED_RECIPES, BenchmarkChoice
from vlascope_adapters.tinyvla.tokenizer import WordTokenizer

__all__ = ["BUNDLED", "CARD", "SHIPPED", "WEIGHTS", "Card", "Policy", "load_policy", "save_policy"]

BUNDLED = "bundled"
SHIPPED: Mapping[str, str] = {
    BUNDLED: "weights",
    **{name: f"weights/{name}" for name in SHIPPED_RECIPES},
}
"""Checkpoints that come with the package, and the folders they are in."""
CARD, WEIGHTS = "policy.json", "policy.safetensors"

_STATE = StateSpec(names=("x", "y", "z", "gripper"), units=("m", "m", "m", "1"))
_ACTION = ActionSpec(
    names=("x", "y", "z", "gripper"),
    control="ee_delta",
    frame="world",
    rotation="none",
    gripper="positive_closes",
    low=(-1.0,) * 4,
    high=(1.0,) * 4,
)


class Card(BaseModel):
    """What one has to know to use the weights.

    Attributes:
        format: the name and version of this layout.
        vocabulary: token texts by index.
        state_mean, state_std: the robot's state is shown as (state - mean) / std.
        action_mean, action_std: the action is mean + std * what the network writes; empty where
            it writes actions as they are.
        action: what the numbers of an action mean.
        state: the streams that make up the state, in order, and what their numbers mean.
        benchmark: the camera, size and render mode that the policy has learned to see.
        tasks: the instructions that it has heard, by task.
        recipe: key of the recipe; `steps` of it were run.
        sha256: of the weights file.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["vlascope.tinyvla/1"] = "vlascope.tinyvla/1"
    network: NetworkConfig
    vocabulary: tuple[str, ...]
    state_mean: tuple[float, ...]
    state_std: tuple[float, ...]
    action_mean: tuple[float, ...] = ()
    action_std: tuple[float, ...] = ()
    action: ActionSpec = _ACTION
    state: dict[str, StateSpec] = {"proprio": _STATE}
    benchmark: BenchmarkChoice
    tasks: dict[str, tuple[str, ...]]
    recipe: str
    steps: int
    sha256: str

    @property
    def scales(self) -> Scales:
        """The normalisations of state and action."""
        state = Normalisation(torch.tensor(self.state_mean), torch.tensor(self.state_std))
        if not self.action_mean:
            return Scales(state, Normalisation.none(self.network.action_dim))
        mean, std = torch.tensor(self.action_mean), torch.tensor(self.action_std)
        return Scales(state, Normalisation(mean, std))


@dataclass(frozen=True, eq=False)
class Policy:
    """A network together with what it needs to read observations and to write actions."""

    network: TinyVLA
    tokenizer: WordTokenizer
    scales: Scales
    card: Card


def save_policy(folder: Path, tensors: Mapping[str, Tensor], card: Card) -> Path:
    """Write weights (as float16) and card; the card, written last, makes them valid.

    Returns:
        The card's path.
    """
    folder.mkdir(parents=True, exist_ok=True)
    half = {
        name: tensor.detach().to(torch.float16).contiguous() for name, tensor in tensors.items()
    }
    content = tensors_to_bytes(half)
    signed = card.model_copy(update={"sha256": hashlib.sha256(content).hexdigest()})
    _replace(folder / WEIGHTS, content)
    _replace(folder / CARD, (signed.model_dump_json(indent=1) + "\n").encode())
    return folder / CARD


def load_policy(checkpoint: str) -> Policy:
    """Load a policy that comes with the package (a name of `SHIPPED`) or one in a local folder.

    It is loaded wholly or not at all.

    Raises:
        FileNotFoundError: the folder or one of its two files is not there.
        ChecksumMismatch: the weights are not those that the card describes.
        CorruptFile: a file is truncated, foreign, or its tensors do not fit the network.
    """
    if checkpoint not in SHIPPED:
        return _load(Path(checkpoint))
    with as_file(files("vlascope_adapters.tinyvla") / SHIPPED[checkpoint]) as folder:
        return _load(folder)


def _load(folder: Path) -> Policy:
    for name in (CARD, WEIGHTS):
        if not (folder / name).is_file():
            raise FileNotFoundError(
                f"{folder} holds no TinyVLA: {name} is missing; give one of "
                f"{sorted(SHIPPED)} or a folder that "
                "`vlascope zoo train tinyvla --out FOLDER` wrote"
            )
    card = _read_card(folder / CARD)
    content = (folder / WEIGHTS).read_bytes()
    if (found := hashlib.sha256(content).hexdigest()) != card.sha256:
        raise ChecksumMismatch(
            f"{folder / WEIGHTS} has sha256 {found[:12]}…, but {CARD} says {card.sha256[:12]}…: "
            "one of the two is damaged or from another training; copy both again"
        )
    network = TinyVLA(card.network, len(card.vocabulary))
    network.load_state_dict(_fitting(folder / WEIGHTS, content, network.state_dict()))
    return Policy(
        network=network.eval(),
        tokenizer=WordTokenizer(card.vocabulary, card.network.words),
        scales=card.scales,
        card=card,
    )


def _read_card(path: Path) -> Card:
    try:
        return Card.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise CorruptFile(f"{path} does not describe a TinyVLA: {error}") from error


def _fitting(path: Path, content: bytes, expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The stored tensors in float32, if they are exactly the ones the network has."""
    try:
        stored = read_tensors(content)
    except SafetensorError as error:
        raise CorruptFile(f"{path} is no complete safetensors file: {error}") from error
    wrong = [
        *(f"{name} is missing" for name in expected.keys() - stored.keys()),
        *(f"{name} is not known" for name in stored.keys() - expected.keys()),
        *(
            f"{name} is {tuple(stored[name].shape)}, not {tuple(expected[name].shape)}"
            for name in expected.keys() & stored.keys()
            if stored[name].shape != expected[name].shape
        ),
    ]
    if wrong:
        shown = "; ".join(sorted(wrong)[:5])
        raise CorruptFile(
            f"{path} does not hold the network of its card ({len(wrong)} tensors): {shown}"
        )
    return {name: tensor.float() for name, tensor in stored.items()}


def _replace(path: Path, content: bytes) -> None:
    partial = path.with_name(f"{path.name}.partial")
    partial.write_bytes(content)
    partial.replace(path)
