"""The trained policies that come with the zoo, by name; found without importing any framework."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from vlascope.errors import unknown_name
from vlascope.loading import NamedCheckpoint

__all__ = [
    "CARD",
    "TINYVLA",
    "Card",
    "card_of",
    "checkpoint_folder",
    "checkpoint_in",
    "named",
    "summary_of",
    "trained_names",
]

CARD = "zoo.json"
TINYVLA = NamedCheckpoint("tinyvla", "bundled")


class Card(BaseModel):
    """What is kept of a training beside its weights.

    Attributes:
        name: of the recipe.
        recipe: its key: sixteen hex digits of everything that decides the weights.
        cpu_seconds: what training took, without collecting demonstrations.
        losses: mean training loss of each twentieth of the steps.
        demonstrations: per task.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    adapter: str
    summary: str
    recipe: str
    seed: int
    parameters: int
    steps: int
    batch: int
    demonstrations: dict[str, int]
    cpu_seconds: float
    losses: tuple[float, ...]
    versions: dict[str, str]


def checkpoint_folder(name: str) -> Path:
    """Where a bundled policy lies, whether it is there or not."""
    return Path(str(files("vlascope_zoo"))) / "checkpoints" / name


@cache
def trained_names() -> tuple[str, ...]:
    """The bundled policies, in alphabetical order."""
    folder = checkpoint_folder("")
    return tuple(sorted(card.parent.name for card in folder.glob(f"*/{CARD}")))


def card_of(name: str) -> Card:
    """What is known of a bundled policy's training."""
    return Card.model_validate_json((checkpoint_folder(name) / CARD).read_text())


def summary_of(name: str) -> str:
    """One line for listings."""
    content = json.loads((checkpoint_folder(name) / CARD).read_text())
    return f"{content['summary']}; {content['parameters'] / 1e6:.1f} M parameters, trained"


def named(name: str) -> NamedCheckpoint:
    """What `zoo:NAME` stands for.

    Raises:
        UnknownName: no bundled policy goes by that name.
    """
    if name not in trained_names():
        raise unknown_name("policy of the zoo", name, trained_names())
    return checkpoint_in(checkpoint_folder(name))


def checkpoint_in(folder: Path) -> NamedCheckpoint:
    """Any folder that `vlascope zoo train` wrote, with the robot that it was trained for."""
    from vlascope_adapters.robots import ROBOTS
    from vlascope_zoo.recipe import lessons

    card = Card.model_validate_json((folder / CARD).read_text())
    seen = lessons().benchmark
    robot = ROBOTS[seen.name].seen_at(seen.size, seen.render)
    return NamedCheckpoint(card.adapter, str(folder), {"robot": robot})


def __getattr__(attribute: str) -> NamedCheckpoint:
    """`policy_act_seed1` is `zoo:act-seed1`: import strings hold identifiers only."""
    known = {f"policy_{name.replace('-', '_')}": name for name in trained_names()}
    if attribute not in known:
        raise AttributeError(f"module {__name__!r} has no attribute {attribute!r}")
    return named(known[attribute])
