"""Batches of the demonstrations, held in memory as they were seen: drawing one takes no waiting."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vlascope.noise import generator_for
from vlascope_adapters.tinyvla.demonstrations import Demonstrations
from vlascope_zoo.architecture import Batch, Moments, Statistics
from vlascope_zoo.recipe import Recipe, lessons

__all__ = ["Batches", "statistics_of"]


class Batches:
    """Draws batches: tasks by weight, their pictures and instructions evenly."""

    def __init__(self, recipe: Recipe, demos: Mapping[str, Demonstrations]) -> None:
        self.recipe = recipe
        kept = {task: _rows(found, recipe.demos) for task, found in demos.items()}
        self.pictures = _joined([demos[task].frames[rows] for task, rows in kept.items()])
        self.states = _joined([demos[task].states[rows] for task, rows in kept.items()])
        self._mean, self._spread = self.states.mean(0), self.states.std(0)
        chunks = [_chunks(demos[task], rows, recipe.horizon) for task, rows in kept.items()]
        self.actions = _joined([actions for actions, _ in chunks])
        self.valid = _joined([valid for _, valid in chunks])
        self._counts = torch.tensor([len(rows) for rows in kept.values()])
        self._starts = self._counts.cumsum(0) - self._counts
        self._plans = [lessons().tasks[task] for task in demos]
        self._weights = torch.tensor([plan.weight for plan in self._plans])

    def draw(self, step: int) -> Batch:
        """The batch of one training step."""
        schedule = self.recipe.schedule
        g = generator_for(self.recipe.seed, 1 + step)
        task = torch.multinomial(self._weights, schedule.batch, replacement=True, generator=g)
        row = self._starts[task] + (torch.rand(len(task), generator=g) * self._counts[task]).long()
        state = self.states[row]
        state = state + schedule.state_noise * self._spread * torch.randn(state.shape, generator=g)
        known = torch.rand(len(row), 1, generator=g) >= schedule.state_dropout
        return Batch(
            pictures=self._look(row, g),
            instructions=self._speak(task, g),
            state=torch.where(known, state, self._mean),
            actions=self.actions[row],
            valid=self.valid[row],
        )

    def _look(self, row: Tensor, g: torch.Generator) -> Tensor:
        """Pictures, each darker or lighter; hues stay."""
        schedule, size = self.recipe.schedule, (len(row), 1, 1, 1)
        gain = 1 + schedule.contrast * (torch.rand(size, generator=g) - 0.5)
        offset = schedule.brightness * (torch.rand(size, generator=g) - 0.5)
        return (self.pictures[row] * gain + offset).clamp(0, 255).round().to(torch.uint8)

    def _speak(self, task: Tensor, g: torch.Generator) -> list[str]:
        """A way to say each row's task; nothing for some, where the scene says it."""
        draws = torch.rand(len(task), 2, generator=g).tolist()
        said = []
        for index, (which, silent) in zip(task.tolist(), draws, strict=True):
            plan = self._plans[index]
            quiet = plan.scene_decides and silent < self.recipe.schedule.empty_instruction
            said.append("" if quiet else plan.prompts[int(which * len(plan.prompts))])
        return said


def statistics_of(demos: Mapping[str, Demonstrations]) -> Statistics:
    """Of all demonstrations; every architecture and every size of data shares them."""
    frames = np.concatenate([found.frames for found in demos.values()])
    drawn = np.random.default_rng(0).choice(len(frames), 512, replace=len(frames) < 512)
    seen = torch.from_numpy(frames[drawn])
    pixels = seen.flatten(0, 2).float() / 255
    moments: Any = {name: value.reshape(3, 1, 1) for name, value in _moments(pixels).items()}
    return Statistics(
        state=_moments(_joined([found.states for found in demos.values()])),
        action=_moments(_joined([found.actions for found in demos.values()])),
        picture=moments,
        pixels=seen[:64].clone(),
    )


def _moments(values: Tensor) -> Moments:
    """Over rows; a number that never changes (a closed gripper) keeps a spread of 1 percent."""
    values = values.float()
    ordered = values.sort(0).values
    last = len(values) - 1
    return {
        "mean": values.mean(0),
        "std": values.std(0).clamp(min=0.01),
        "min": ordered[0],
        "max": torch.maximum(ordered[-1], ordered[0] + 0.01),
        "q01": ordered[int(0.01 * last)],
        "q99": torch.maximum(ordered[int(0.99 * last)], ordered[int(0.01 * last)] + 0.01),
    }


def _joined(parts: list[Any]) -> Tensor:
    return torch.from_numpy(np.concatenate(parts))


def _rows(demos: Demonstrations, episodes: int | None) -> np.ndarray[Any, Any]:
    """The pictures of the first so many demonstrations, as row numbers."""
    ends = np.unique(demos.last_step)
    last = ends[-1] if episodes is None else ends[min(episodes, len(ends)) - 1]
    return np.flatnonzero(demos.frame_step <= last)


def _chunks(demos: Demonstrations, rows: Any, horizon: int) -> tuple[Any, Any]:
    """Actions from each picture on, (rows, horizon, dim), and which of them exist."""
    last = demos.last_step[demos.frame_step[rows]][:, None]
    steps = demos.frame_step[rows][:, None] + np.arange(horizon)
    return demos.actions[np.minimum(steps, last)], steps <= last
