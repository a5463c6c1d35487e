"""From a recipe to a policy on disk: the whole of it, resumable at every stage."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from vlascope_adapters.tinyvla.batches import Batches, Normalisation
from vlascope_adapters.tinyvla.demonstrations import load_demonstrations
from vlascope_adapters.tinyvla.fit import fit
from vlascope_adapters.tinyvla.recipe import Recipe
from vlascope_adapters.tinyvla.tokenizer import WordTokenizer
from vlascope_adapters.tinyvla.training import Progress
from vlascope_adapters.tinyvla.weights import Card, save_policy

__all__ = ["card_of", "train_policy", "vocabulary_of"]


def vocabulary_of(recipe: Recipe) -> WordTokenizer:
    """Every word of every prompt of the recipe."""
    prompts = [text for plan in recipe.tasks.values() for text in plan.prompts]
    return WordTokenizer.of(prompts, recipe.network.words)


def card_of(
    recipe: Recipe, tokenizer: WordTokenizer, normalisation: Normalisation, steps: int
) -> Card:
    """The description of weights that were trained for `steps` of the recipe; not yet signed."""
    return Card(
        network=recipe.network,
        vocabulary=tokenizer.vocabulary,
        state_mean=tuple(normalisation.mean.tolist()),
        state_std=tuple(normalisation.std.tolist()),
        benchmark=recipe.benchmark,
        tasks={task: plan.prompts for task, plan in recipe.tasks.items()},
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
    """
    tokenizer = vocabulary_of(recipe)
    loaded = {task: load_demonstrations(path) for task, path in demos.items()}
    batches = Batches(recipe, tokenizer, loaded)
    del loaded
    trainer = fit(recipe, batches, len(tokenizer.vocabulary), out, on_step=on_step)
    card = card_of(recipe, tokenizer, batches.normalisation, trainer.step)
    save_policy(out, trainer.ema, card)
    return trainer.cpu_seconds
