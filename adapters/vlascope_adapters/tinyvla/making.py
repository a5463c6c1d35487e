"""From a recipe to a policy on disk: the whole of it, resumable at every stage."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from vlascope.errors import unknown_name
from vlascope.plugins import benchmark_class
from vlascope.specs import ActionSpec, StateSpec
from vlascope_adapters.tinyvla.batches import Batches, Scales
from vlascope_adapters.tinyvla.demonstrations import load_demonstrations
from vlascope_adapters.tinyvla.fit import fit
from vlascope_adapters.tinyvla.narration import NARRATION
from vlascope_adapters.tinyvla.recipe import Recipe
from vlascope_adapters.tinyvla.tokenizer import SPECIAL, WordTokenizer
from vlascope_adapters.tinyvla.training import Progress
from vlascope_adapters.tinyvla.weights import Card, load_policy, save_policy

__all__ = ["beginning", "card_of", "specs_of", "train_policy", "vocabulary_of"]


def vocabulary_of(recipe: Recipe) -> WordTokenizer:
    """Every word that the recipe has to know: of its prompts, its start and its narration."""
    prompts = [text for plan in recipe.parts.values() for text in plan.prompts]
    if recipe.start is not None:
        prompts += load_policy(recipe.start).tokenizer.vocabulary[len(SPECIAL) :]
    if recipe.schedule.narration_weight > 0:
        prompts += NARRATION
    return WordTokenizer.of(prompts, recipe.network.words)


def beginning(recipe: Recipe, tokenizer: WordTokenizer) -> tuple[dict[str, Tensor], Scales]:
    """The weights that the recipe goes on from, with a row for every word, and their scales.

    A word that they do not know begins as a random vector (seeded) of an ordinary norm, so that
    no two new words begin alike.

    Raises:
        ValueError: they are of another shape than the recipe's network.
    """
    policy = load_policy(str(recipe.start))
    if policy.card.network != recipe.network:
        raise ValueError(
            f"{recipe.start} is a network of another shape than the recipe's: "
            f"{policy.card.network} against {recipe.network}; give both one `network`"
        )
    tensors = {name: tensor.clone() for name, tensor in policy.network.state_dict().items()}
    known, index = tensors["words.weight"], policy.tokenizer.index
    generator = torch.Generator().manual_seed(recipe.seed)
    fresh = torch.randn(len(tokenizer.vocabulary), known.shape[1], generator=generator)
    fresh *= known.std()
    rows = [(i, index[word]) for i, word in enumerate(tokenizer.vocabulary) if word in index]
    here, there = (list(places) for places in zip(*rows, strict=True))
    fresh[here] = known[there]
    tensors["words.weight"] = fresh
    return tensors, policy.scales


def specs_of(recipe: Recipe) -> tuple[ActionSpec, dict[str, StateSpec]]:
    """What the numbers of the benchmark's actions mean, and of the streams that are read.

    Raises:
        UnknownName: the benchmark has no stream of a name that the recipe reads.
        ValueError: the recipe's network has other dimensions.
    """
    choice, network = recipe.benchmark, recipe.network
    info = benchmark_class(choice.name)(**choice.options()).info
    for name in choice.streams:
        if name not in info.state:
            raise unknown_name(f"state stream of {choice.name}", name, info.state)
    state = {name: info.state[name] for name in choice.streams or info.state}
    given = sum(spec.dim for spec in state.values()), info.action.dim
    if given != (network.state_dim, network.action_dim):
        raise ValueError(
            f"{choice.name} has states of {given[0]} and actions of {given[1]} numbers; the "
            f"recipe's network takes {network.state_dim} and gives {network.action_dim}: set "
            "state_dim and action_dim, or streams"
        )
    return info.action, state


def card_of(recipe: Recipe, tokenizer: WordTokenizer, scales: Scales, steps: int) -> Card:
    """The description of weights that were trained for `steps` of the recipe; not yet signed."""
    action, state = specs_of(recipe)
    return Card(
        network=recipe.network,
        vocabulary=tokenizer.vocabulary,
        state_mean=tuple(scales.state.mean.tolist()),
        state_std=tuple(scales.state.std.tolist()),
        action_mean=tuple(scales.action.mean.tolist()),
        action_std=tuple(scales.action.std.tolist()),
        action=action,
        state=state,
        benchmark=recipe.benchmark,
        tasks={task: _prompts(recipe, task) for task in recipe.tasks},
        recipe=recipe.key,
        steps=steps,
        sha256="",
    )


def train_policy(
    recipe: Recipe,
    demos: Mapping[str, Path],
    out: Path,
    *,
    on_step: Callable[[Progress], None] = lambda _: None,
) -> float:
    """Train from stored demonstrations and write the policy to `out`.

    Returns:
        CPU seconds that training took each worker.

    Raises:
        ValueError: the recipe's network does not fit the benchmark.
    """
    tokenizer = vocabulary_of(recipe)
    loaded = {task: load_demonstrations(path) for task, path in demos.items()}
    specs_of(recipe)
    start, scales = (None, None) if recipe.start is None else beginning(recipe, tokenizer)
    batches = Batches(recipe, tokenizer, loaded, scales)
    del loaded
    words = len(tokenizer.vocabulary)
    trainer = fit(recipe, batches, words, out, start=start, on_step=on_step)
    card = card_of(recipe, tokenizer, batches.scales, trainer.step)
    save_policy(out, trainer.ema, card)
    return trainer.cpu_seconds


def _prompts(recipe: Recipe, task: str) -> tuple[str, ...]:
    """What a task may be called, its own prompts first, then those that name a manner."""
    if not recipe.manners:
        return recipe.tasks[task].prompts
    name = recipe.tasks[task].plays or task
    played = [plan for plan in recipe.parts.values() if plan.plays == name]
    return tuple(dict.fromkeys(text for plan in played for text in plan.prompts))
