"""Fitting a TinyVLA: seeded by step, resumable, the same result however often it was stopped."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from vlascope.errors import CorruptFile
from vlascope.noise import generator_for
from vlascope_adapters.tinyvla.batches import Batches
from vlascope_adapters.tinyvla.network import TinyVLA
from vlascope_adapters.tinyvla.objective import Lessons, Losses, losses
from vlascope_adapters.tinyvla.parallel import ALONE, Team
from vlascope_adapters.tinyvla.recipe import Recipe, Schedule

__all__ = ["CHECKPOINT", "Progress", "Trainer", "learning_rate", "read_checkpoint"]

CHECKPOINT = "training.pt"
_FLOOR = 0.03


@dataclass(frozen=True)
class Progress:
    """Where training stands: steps done and the losses of the last step."""

    step: int
    action: float
    hindsight: float
    landmark: float
    word: float
    narration: float = 0.0


class Trainer:
    """Holds what changes during training, and goes on from where a checkpoint left it."""

    def __init__(
        self,
        recipe: Recipe,
        batches: Batches,
        vocabulary: int,
        folder: Path,
        team: Team = ALONE,
        start: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.recipe, self.batches, self.folder, self.team = recipe, batches, folder, team
        self.step = 0
        self.cpu_seconds = 0.0
        with torch.random.fork_rng():
            torch.manual_seed(generator_for(recipe.seed).initial_seed())
            self.network = TinyVLA(recipe.network, vocabulary)
            seen = recipe.demonstrations
            self.lessons = Lessons(recipe.network, len(seen.landmarks), len(seen.hands))
        if start is not None:
            self.network.load_state_dict(start)
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.ema = {k: v.detach().clone() for k, v in self.network.state_dict().items()}
        self.parameters = [*self.network.parameters(), *self.lessons.parameters()]
        schedule = recipe.schedule
        self.optimizer = torch.optim.AdamW(
            self.parameters,
            schedule.learning_rate,
            betas=(0.9, 0.99),
            weight_decay=schedule.weight_decay,
            fused=True,
        )
        if self.checkpoint.exists():
            self._resume()

    @property
    def checkpoint(self) -> Path:
        """The file that training goes on from."""
        return self.folder / CHECKPOINT

    def run(
        self,
        *,
        until: int | None = None,
        save_every: float = 120.0,
        on_step: Callable[[Progress], None] = lambda _: None,
    ) -> None:
        """Train up to step `until` (default: the recipe's), saving every `save_every` seconds."""
        schedule = self.recipe.schedule
        torch.set_num_threads(1)
        saved, started = time.monotonic(), time.process_time() - self.cpu_seconds
        while self.step < min(until or schedule.steps, schedule.steps):
            found = self._advance(schedule)
            self.cpu_seconds = time.process_time() - started
            on_step(_progress(self.step, found))
            if self.team.rank == 0 and time.monotonic() - saved > save_every:
                self.save()
                saved = time.monotonic()
        if self.team.rank == 0:
            self.save()

    def save(self) -> None:
        """Write the checkpoint in one go, so that an interruption leaves the old or the new one."""
        self.folder.mkdir(parents=True, exist_ok=True)
        partial = self.checkpoint.with_suffix(".partial")
        torch.save(self._state(), partial)
        partial.replace(self.checkpoint)

    def _advance(self, schedule: Schedule) -> Losses:
        """One optimizer step and one step of the moving average."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(schedule, self.step)
        batch = self.batches.draw(self.step, self.team.rank, self.team.workers)
        with torch.autocast("cpu", torch.bfloat16):
            found = losses(self.network, self.lessons, batch, schedule.flow_samples)
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(found.total(schedule))
        self.team.average(self.parameters)
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.step += 1
        self._average(min(schedule.ema, (1 + self.step) / (10 + self.step)))
        return found

    def _average(self, keep: float) -> None:
        now = self.network.state_dict()
        with torch.no_grad():
            for name, old in self.ema.items():
                old.lerp_(now[name], 1 - keep)

    def _state(self) -> dict[str, Any]:
        return {
            "recipe": self.recipe.key,
            "step": self.step,
            "cpu_seconds": self.cpu_seconds,
            "network": self.network.state_dict(),
            "lessons": self.lessons.state_dict(),
            "ema": self.ema,
            "optimizer": self.optimizer.state_dict(),
        }

    def _resume(self) -> None:
        stored = read_checkpoint(self.checkpoint, self.recipe.key)
        self.step, self.cpu_seconds = stored["step"], stored["cpu_seconds"]
        self.network.load_state_dict(stored["network"])
        self.lessons.load_state_dict(stored["lessons"])
        self.optimizer.load_state_dict(stored["optimizer"])
        self.ema = stored["ema"]


def _progress(step: int, found: Losses) -> Progress:
    action, hindsight = found.action.item(), found.hindsight.item()
    landmark, word = found.landmark.item(), found.word.item()
    return Progress(step, action, hindsight, landmark, word, found.narration.item())


class Rises(Protocol):
    """A schedule, as far as the learning rate goes."""

    @property
    def steps(self) -> int:
        """Optimizer steps in all."""
        ...

    @property
    def warmup(self) -> int:
        """Steps until the rate is reached."""
        ...

    @property
    def learning_rate(self) -> float:
        """The highest rate."""
        ...


def read_checkpoint(path: Path, key: str) -> dict[str, Any]:
    """What a training of the recipe of this key left to go on from.

    Raises:
        CorruptFile: it is truncated or foreign, or belongs to another recipe.
    """
    try:
        stored = torch.load(path, weights_only=True)
    except Exception as error:
        raise CorruptFile(
            f"{path} is no complete checkpoint ({error}); delete it to start over"
        ) from error
    if stored["recipe"] != key:
        raise CorruptFile(
            f"{path} belongs to recipe {stored['recipe']}, not to {key}: choose another folder, or "
            "delete it to start over"
        )
    return stored


def learning_rate(schedule: Rises, step: int) -> float:
    """Linear warm-up, then a cosine down to 3 %."""
    warm = min(1.0, (step + 1) / schedule.warmup)
    cosine = 0.5 * (1 + math.cos(math.pi * step / schedule.steps))
    return schedule.learning_rate * warm * (_FLOOR + (1 - _FLOOR) * cosine)
