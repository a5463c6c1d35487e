"""Fitting a policy: seeded by step, resumable, the same result however often it was stopped."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vlascope.noise import generator_for
from vlascope_adapters.tinyvla.training import CHECKPOINT, learning_rate, read_checkpoint
from vlascope_zoo.architecture import Statistics, architecture_of
from vlascope_zoo.lessons import Batches
from vlascope_zoo.recipe import Recipe, Schedule

__all__ = ["CHECKPOINT", "Progress", "Trainer"]

_NOISE = 10**9
"""Steps of the noise's generators count from here, those of the batches' from 1."""


@dataclass(frozen=True)
class Progress:
    """Where training stands: steps done, the loss of the last one, CPU seconds so far."""

    step: int
    loss: float
    cpu_seconds: float


class Trainer:
    """Holds what changes during training, and goes on from where a checkpoint left it."""

    def __init__(
        self, recipe: Recipe, batches: Batches, statistics: Statistics, folder: Path
    ) -> None:
        self.recipe, self.batches, self.folder = recipe, batches, folder
        self.step, self.cpu_seconds = 0, 0.0
        self.losses: list[float] = []
        folder.mkdir(parents=True, exist_ok=True)
        self.architecture = architecture_of(recipe)
        self.policy = self.architecture.build(recipe, statistics, folder)
        self.policy.requires_grad_(True)
        self.ema = {k: v.detach().clone() for k, v in self.policy.state_dict().items()}
        self.parameters = [p for p in self.policy.parameters() if p.requires_grad]
        schedule = recipe.schedule
        groups: list[dict[str, Any]] = [
            {"params": [p for p in self.parameters if p.ndim > 1]},
            {"params": [p for p in self.parameters if p.ndim <= 1], "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(
            groups,
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
        save_every: float = 60.0,
        on_step: Callable[[Progress], None] = lambda _: None,
    ) -> None:
        """Train up to step `until` (default: the recipe's), saving every `save_every` seconds."""
        schedule = self.recipe.schedule
        torch.set_num_threads(1)
        self.policy.train()
        saved, started = time.monotonic(), time.process_time() - self.cpu_seconds
        while self.step < min(until or schedule.steps, schedule.steps):
            loss = self._advance(schedule)
            self.losses.append(round(loss, 5))
            self.cpu_seconds = time.process_time() - started
            on_step(Progress(self.step, loss, self.cpu_seconds))
            if time.monotonic() - saved > save_every:
                self.save()
                saved = time.monotonic()
        self.save()

    def save(self) -> None:
        """Write the checkpoint in one go, so that an interruption leaves the old or the new one."""
        partial = self.checkpoint.with_suffix(".partial")
        torch.save(self._state(), partial)
        partial.replace(self.checkpoint)

    def finish(self) -> None:
        """Write the averaged weights in the hub's layout, beside the checkpoint."""
        self.policy.load_state_dict(self.ema)
        self.architecture.save(self.policy.eval(), self.folder)

    def _advance(self, schedule: Schedule) -> float:
        """One optimizer step and one step of the moving average; gives the loss."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(schedule, self.step)
        batch = self.batches.draw(self.step)
        noise = generator_for(self.recipe.seed, _NOISE + self.step)
        low = schedule.autocast == "bfloat16"
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(noise.initial_seed())
            with torch.autocast("cpu", torch.bfloat16, enabled=low):
                loss = self.architecture.loss(self.policy, batch, noise)
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.parameters, schedule.clip)
        self.optimizer.step()
        self.step += 1
        self._average(min(schedule.ema, (1 + self.step) / (10 + self.step)))
        return float(loss.detach())

    @torch.no_grad()
    def _average(self, keep: float) -> None:
        now: dict[str, Tensor] = self.policy.state_dict()
        for name, old in self.ema.items():
            if old.is_floating_point():
                old.lerp_(now[name], 1 - keep)
            else:
                old.copy_(now[name])

    def _state(self) -> dict[str, Any]:
        return {
            "recipe": self.recipe.key,
            "step": self.step,
            "cpu_seconds": self.cpu_seconds,
            "losses": self.losses,
            "policy": self.policy.state_dict(),
            "ema": self.ema,
            "optimizer": self.optimizer.state_dict(),
        }

    def _resume(self) -> None:
        stored = read_checkpoint(self.checkpoint, self.recipe.key)
        self.step, self.cpu_seconds = stored["step"], stored["cpu_seconds"]
        self.losses = stored["losses"]
        self.policy.load_state_dict(stored["policy"])
        self.optimizer.load_state_dict(stored["optimizer"])
        self.ema = stored["ema"]
