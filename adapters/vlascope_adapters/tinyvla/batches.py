"""Training batches: a function of the recipe's seed and the step number, and of nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vlascope.noise import generator_for
from vlascope.types import Image
from vlascope_adapters.tinyvla.demonstrations import Demonstrations
from vlascope_adapters.tinyvla.narration import NARRATION, narrate
from vlascope_adapters.tinyvla.recipe import Recipe
from vlascope_adapters.tinyvla.tokenizer import MASK, PAD, UNKNOWN, WordTokenizer

__all__ = ["Batch", "Batches", "Normalisation", "Scales"]

_STATE_NOISE = 0.03
_STILL = 0.05
"""What a number of an action moves at least, for its scale: fifty milliradians."""
_CONTRAST, _BRIGHTNESS = 0.15, 12.0


@dataclass(frozen=True, eq=False)
class Normalisation:
    """Mean and standard deviation of every number of a vector, float32 (dim,) each."""

    mean: Tensor
    std: Tensor

    @classmethod
    def none(cls, dim: int) -> Normalisation:
        """One that changes nothing."""
        return cls(torch.zeros(dim), torch.ones(dim))

    def __call__(self, raw: Tensor) -> Tensor:
        """Vectors, (..., dim), in standard deviations from the mean."""
        return (raw - self.mean) / self.std

    def undo(self, scaled: Tensor) -> Tensor:
        """The vectors that these standard deviations stand for."""
        return scaled * self.std.to(scaled) + self.mean.to(scaled)


@dataclass(frozen=True, eq=False)
class Scales:
    """How the network is shown the robot's state, and how it writes actions."""

    state: Normalisation
    action: Normalisation


@dataclass(frozen=True, eq=False)
class Batch:
    """What the network sees and what it should say.

    Attributes:
        pictures: float32 (batch, crop, crop, 3), 0..255.
        words: int64 (batch, words), after masking; `spoken` is before.
        state: float32 (batch, state_dim), normalised.
        actions: float32 (batch, horizon, action_dim), normalised; `valid` (batch, horizon) is 0
            past the end.
        ahead: float32 (batch, 3 * hands * (len(hindsight) + 1)), normalised positions of the hands
            later in the demonstration and at its end.
        landmarks: float32 (batch, 3 * landmarks), normalised positions, NaN where there is none.
        narrated: float32 (batch, vocabulary), what to say of the actions: equal shares of every
            word that is true; zeros where nothing is to be said.
        random: where the flow's times and noises are to be drawn from.
    """

    pictures: Tensor
    words: Tensor
    spoken: Tensor
    state: Tensor
    actions: Tensor
    valid: Tensor
    ahead: Tensor
    landmarks: Tensor
    narrated: Tensor
    random: torch.Generator


class Batches:
    """Draws batches from demonstrations that are held in memory."""

    def __init__(
        self,
        recipe: Recipe,
        tokenizer: WordTokenizer,
        demos: Mapping[str, Demonstrations],
        scales: Scales | None = None,
    ) -> None:
        self.recipe = recipe
        tasks = list(demos)
        plans = [recipe.parts[task] for task in tasks]
        self._pictures = torch.from_numpy(np.concatenate([self._window(demos[t]) for t in tasks]))
        states = torch.from_numpy(np.concatenate([demos[t].states for t in tasks]))
        self.scales = scales or _scales(recipe, states, list(demos.values()))
        self._states = self.scales.state(states)
        actions, self._valid, ahead = self._targets(list(demos.values()))
        self._actions = self.scales.action(actions)
        in_space = self._place_scale(ahead)
        self._ahead = in_space(ahead.reshape(*ahead.shape[:-1], -1, 3)).flatten(1)
        places = torch.from_numpy(np.concatenate([demos[t].landmarks for t in tasks]))
        self._landmarks = in_space(places).flatten(1)
        self._narrated = self._narration(tokenizer)
        counts = torch.tensor([len(demos[task].frames) for task in tasks])
        self._counts, self._starts = counts, counts.cumsum(0) - counts
        self._weights = torch.tensor([plan.weight for plan in plans])
        self._scene_decides = torch.tensor([plan.scene_decides for plan in plans])
        self._prompts, self._prompt_counts = _prompt_table(tokenizer, [p.prompts for p in plans])

    def draw(self, step: int, rank: int = 0, workers: int = 1) -> Batch:
        """One worker's share of the batch of one training step."""
        g = generator_for(self.recipe.seed, 1 + step * workers + rank)
        size = self.recipe.schedule.batch // workers
        task = torch.multinomial(self._weights, size, replacement=True, generator=g)
        row = self._starts[task] + (torch.rand(size, generator=g) * self._counts[task]).long()
        which = (torch.rand(size, generator=g) * self._prompt_counts[task]).long()
        spoken, words = self._speak(self._prompts[task, which], self._scene_decides[task], g)
        state = self._states[row] + _STATE_NOISE * torch.randn(self._states[row].shape, generator=g)
        known = torch.rand(size, 1, generator=g) >= self.recipe.schedule.state_dropout
        return Batch(
            pictures=self._look(row, g),
            words=words,
            spoken=spoken,
            state=state * known,
            actions=self._actions[row],
            valid=self._valid[row],
            ahead=self._ahead[row],
            landmarks=self._landmarks[row],
            narrated=self._narrated[row],
            random=g,
        )

    def _window(self, demos: Demonstrations) -> Image:
        """The crop with a margin for shifts, of every frame."""
        crop, shift = self.recipe.network.crop, self.recipe.schedule.shift
        top, left, size = crop.row - shift, crop.column - shift, crop.size + 2 * shift
        return demos.frames[:, top : top + size, left : left + size]

    def _targets(self, demos: list[Demonstrations]) -> tuple[Tensor, Tensor, Tensor]:
        """Action chunks, which of their actions exist, and later hand positions, per frame."""
        horizon, later = self.recipe.network.horizon, (*self.recipe.network.hindsight, 10**6)
        chunks, valid, ahead = [], [], []
        for d in demos:
            last = d.last_step[d.frame_step][:, None]
            steps = d.frame_step[:, None] + np.arange(horizon)
            chunks.append(d.actions[np.minimum(steps, last)])
            valid.append((steps <= last).astype(np.float32))
            then = np.minimum(d.frame_step[:, None] + np.array(later), last)
            ahead.append(d.hands[then])
        stacked = (torch.from_numpy(np.concatenate(part)) for part in (chunks, valid, ahead))
        return tuple(stacked)  # type: ignore[return-value]

    def _place_scale(self, ahead: Tensor) -> Normalisation:
        """What places are measured in."""
        if self.recipe.schedule.place_scale == "state":
            state = self.scales.state
            return Normalisation(state.mean[:3], state.std[:3])
        hands = ahead.reshape(-1, 3)
        return Normalisation(hands.mean(0), hands.std(0))

    def _narration(self, tokenizer: WordTokenizer) -> Tensor:
        """What is to be said of each frame's chunk, over the vocabulary."""
        shares = torch.zeros(len(self._actions), len(tokenizer.vocabulary))
        if self.recipe.schedule.narration_weight > 0:
            said = narrate(self._actions, self._valid).float()
            places = torch.tensor([tokenizer.index[word] for word in NARRATION])
            shares[:, places] = said / said.sum(1, keepdim=True).clamp(min=1)
        return shares

    def _look(self, row: Tensor, g: torch.Generator) -> Tensor:
        """Pictures, each moved by a few pixels and made darker or lighter; hues stay."""
        crop, shift = self.recipe.network.crop.size, self.recipe.schedule.shift
        size = (len(row), 1, 1)
        across = torch.arange(crop)
        down = across[:, None] + torch.randint(0, 2 * shift + 1, size, generator=g)
        right = across[None] + torch.randint(0, 2 * shift + 1, size, generator=g)
        seen = self._pictures[row[:, None, None], down, right].float()
        gain = 1 + _CONTRAST * (torch.rand(*size, 1, generator=g) - 0.5)
        offset = _BRIGHTNESS * (torch.rand(*size, 1, generator=g) - 0.5)
        return (seen * gain + offset).clamp(0, 255)

    def _speak(
        self, prompts: Tensor, scene_decides: Tensor, g: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Instructions, and the same with words hidden.

        Only where the scene decides is an instruction left out or a word hidden: elsewhere that
        would teach a mixture of tasks that start from one picture.
        """
        plan = self.recipe.schedule
        empty = torch.rand(len(prompts), 1, generator=g) < plan.empty_instruction
        spoken = prompts.masked_fill(empty & scene_decides[:, None], PAD)
        draw = torch.rand(prompts.shape, generator=g)
        may = scene_decides[:, None] & (spoken != PAD)
        words = spoken.masked_fill(may & (draw < plan.word_dropout), MASK)
        return spoken, words.masked_fill(may & (draw < plan.word_dropout / 3), UNKNOWN)


def _scales(recipe: Recipe, states: Tensor, demos: list[Demonstrations]) -> Scales:
    """Those of the demonstrations; actions keep their own unless the recipe normalises them."""
    state = Normalisation(states.mean(0), states.std(0) + 1e-4)
    if not recipe.schedule.normalise_actions:
        return Scales(state, Normalisation.none(recipe.network.action_dim))
    actions = torch.from_numpy(np.concatenate([d.actions for d in demos]))
    return Scales(state, Normalisation(actions.mean(0), actions.std(0).clamp(min=_STILL)))


def _prompt_table(
    tokenizer: WordTokenizer, prompts: list[tuple[str, ...]]
) -> tuple[Tensor, Tensor]:
    """Token rows, (tasks, most prompts, words), and how many prompts each task has."""
    table = torch.zeros(len(prompts), max(map(len, prompts)), tokenizer.length, dtype=torch.long)
    for i, texts in enumerate(prompts):
        table[i, : len(texts)] = torch.tensor([tokenizer.encode(text) for text in texts])
    return table, torch.tensor([len(texts) for texts in prompts])
