"""States and actions in the ranges that the network knows: upstream's normalisation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vlascope.errors import CorruptFile, IncompatibleError, VlascopeError, unknown_name
from vlascope_adapters.checkpoints import read_json

__all__ = ["EMBODIMENTS", "METADATA", "DataConfig", "Embodiment", "Scale", "read_embodiment"]

METADATA = "experiment_cfg/metadata.json"
"""A checkpoint's statistics, by embodiment tag."""

EMBODIMENTS: Mapping[str, int] = {
    "new_embodiment": 31,
    "oxe_droid": 17,
    "agibot_genie1": 26,
    "genie1_gripper": 26,
    "gr1": 24,
}
"""Which of the projectors each embodiment tag uses (gr00t/data/embodiment_tags.py)."""


@dataclass(frozen=True)
class DataConfig:
    """What upstream's Python data config says and no checkpoint does.

    Attributes:
        state, action: the keys of `metadata.json` that the policy was trained on, in order; by
            default all, in the file's order.
        video: the same for cameras.
        mean_std: action or state keys normalised by mean and standard deviation, as
            `LiberoDataConfigMeanStd` has it, and not by minimum and maximum.
        crop: the part of each side that is kept of a picture.
    """

    state: tuple[str, ...] = ()
    action: tuple[str, ...] = ()
    video: tuple[str, ...] = ()
    mean_std: tuple[str, ...] = ()
    crop: float = 0.95


@dataclass(frozen=True, eq=False)
class Scale:
    """Numbers to the range -1..1 and back, by minimum and maximum or by mean and deviation.

    Attributes:
        zero, span: float32 (dim,): minimum and range, or mean and deviation.
        centred: bool (dim,), true where it is mean and deviation.
    """

    zero: Tensor
    span: Tensor
    centred: Tensor

    def normalise(self, values: Tensor) -> Tensor:
        """As upstream: 0 where minimum and maximum are equal, unchanged where nothing deviates."""
        empty = self.span == 0
        share = (values - self.zero) / torch.where(empty, 1.0, self.span)
        ranged = torch.where(empty, 0.0, 2 * share - 1)
        return torch.where(self.centred, torch.where(empty, values, share), ranged)

    def restore(self, values: Tensor) -> Tensor:
        """The inverse, on any device."""
        zero, span, centred = (t.to(values.device) for t in (self.zero, self.span, self.centred))
        return torch.where(centred, values * span + zero, (values + 1) / 2 * span + zero)

    def tensors(self, name: str) -> dict[str, Tensor]:
        """What goes into the checkpoint's hash."""
        return {f"{name}.zero": self.zero, f"{name}.span": self.span, f"{name}.mean": self.centred}


@dataclass(frozen=True, eq=False)
class Embodiment:
    """A robot as a checkpoint knows it.

    Attributes:
        tag: its embodiment tag.
        state, action: how numbers are normalised.
        video: the cameras, by the checkpoint's names.
        projector: which of the network's projectors are its own.
        crop: the part of each side that is kept of a picture; None shows all of it as lerobot did.
        default_instruction: what is said where nothing is.
    """

    tag: str
    state: Scale
    action: Scale
    video: tuple[str, ...]
    crop: float | None = 0.95
    projector: int = EMBODIMENTS["new_embodiment"]
    default_instruction: str = ""


def read_embodiment(folder: Path, tag: str | None, data: DataConfig) -> Embodiment:
    """The statistics of one robot in a checkpoint.

    Raises:
        FileMissing, CorruptFile: `experiment_cfg/metadata.json` is not there, or not upstream's.
        UnknownName: it holds no such embodiment, or an embodiment has no such key.
        IncompatibleError: it holds several, and none was asked for.
    """
    found = read_json(folder, METADATA)
    if tag is None and len(found) != 1:
        raise IncompatibleError(
            f"{folder / METADATA} has statistics of {', '.join(sorted(found))}; say which robot "
            "with embodiment=TAG"
        )
    chosen = tag or next(iter(found))
    for known, what in ((found, "embodiment of this checkpoint"), (EMBODIMENTS, "embodiment tag")):
        if chosen not in known:
            raise unknown_name(what, chosen, known)
    try:
        numbers, modalities = found[chosen]["statistics"], found[chosen]["modalities"]
        return Embodiment(
            tag=chosen,
            state=_scale(numbers["state"], data.state, data.mean_std),
            action=_scale(numbers["action"], data.action, data.mean_std),
            video=_chosen(modalities["video"], data.video),
            crop=data.crop,
            projector=EMBODIMENTS[chosen],
        )
    except VlascopeError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptFile(
            f"{folder / METADATA}: the statistics of {chosen!r} are not as upstream writes them "
            f"({type(error).__name__}: {error}); download it again"
        ) from error


def _scale(statistics: Mapping[str, Any], keys: tuple[str, ...], mean_std: Iterable[str]) -> Scale:
    chosen = _chosen(statistics, keys)
    parts = [_numbers(statistics[key], key in set(mean_std)) for key in chosen]
    return Scale(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))


def _numbers(statistics: Mapping[str, Any], centred: bool) -> tuple[Tensor, Tensor, Tensor]:
    def of(name: str) -> Tensor:
        return torch.tensor(statistics[name], dtype=torch.float32).flatten()

    zero = of("mean" if centred else "min")
    span = of("std") if centred else of("max") - zero
    return zero, span, torch.full(zero.shape, centred)


def _chosen(there: Mapping[str, Any], keys: tuple[str, ...]) -> tuple[str, ...]:
    for key in keys:
        if key not in there:
            raise unknown_name("key of this embodiment", key, there)
    return keys or tuple(there)
