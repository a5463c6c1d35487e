"""TinyVLA's training: batches follow from seeds, and stopping changes nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from vlascope.errors import CorruptFile
from vlascope_adapters.tinyvla.batches import Batches
from vlascope_adapters.tinyvla.config import Crop, NetworkConfig
from vlascope_adapters.tinyvla.demonstrations import (
    Demonstrations,
    demo_file,
    load_demonstrations,
)
from vlascope_adapters.tinyvla.fit import fit
from vlascope_adapters.tinyvla.making import train_policy, vocabulary_of
from vlascope_adapters.tinyvla.recipe import (
    BenchmarkChoice,
    DemoPlan,
    Recipe,
    Schedule,
    TaskPlan,
    load_recipe,
)
from vlascope_adapters.tinyvla.tokenizer import MASK, PAD, UNKNOWN
from vlascope_adapters.tinyvla.training import Trainer, learning_rate
from vlascope_adapters.tinyvla.weights import load_policy

MINIATURE = Recipe(
    benchmark=BenchmarkChoice(name="metaworld", camera="corner2", size=16, render="fast"),
    network=NetworkConfig(
        crop=Crop(row=2, column=2, size=12),
        stem=(4, 8),
        vision_width=8,
        width=16,
        heads=2,
        vlm_layers=1,
        expert_layers=1,
        vision_layers=1,
        words=4,
        horizon=3,
        executed=2,
        denoise_steps=2,
        hindsight=(2,),
    ),
    demonstrations=DemoPlan(landmarks=("ball", "door")),
    schedule=Schedule(steps=8, batch=8, warmup=2, workers=1, word_dropout=0.9, shift=2),
    tasks={
        "left": TaskPlan(demos=2, prompts=("go left", "left please")),
        "right": TaskPlan(demos=2, prompts=("go right",), scene_decides=True),
    },
)


def made_up(seed: int) -> Demonstrations:
    """Two demonstrations of ten steps, of noise."""
    rng = np.random.default_rng(seed)
    return Demonstrations(
        frames=rng.integers(0, 256, (10, 16, 16, 3), dtype=np.uint8),
        states=rng.standard_normal((10, 4), dtype=np.float32),
        frame_step=np.arange(0, 20, 2),
        actions=rng.uniform(-1, 1, (20, 4)).astype(np.float32),
        hands=rng.standard_normal((20, 3), dtype=np.float32),
        last_step=np.repeat([9, 19], 10),
        landmarks=np.stack([np.ones((10, 3)), np.full((10, 3), np.nan)], 1).astype(np.float32),
        tries=2,
    )


@pytest.fixture(scope="module")
def batches() -> Batches:
    demos = {task: made_up(i) for i, task in enumerate(MINIATURE.tasks)}
    return Batches(MINIATURE, vocabulary_of(MINIATURE), demos)


def trained(batches: Batches, folder: Path, *stops: int) -> Trainer:
    words = len(vocabulary_of(MINIATURE).vocabulary)
    for stop in stops:
        trainer = fit(MINIATURE, batches, words, folder, until=stop)
    return trainer


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_stopped_and_resumed_is_the_same_to_the_bit(batches, tmp_path):
    straight = trained(batches, tmp_path / "straight", 8)
    halting = trained(batches, tmp_path / "halting", 3, 5, 8)
    assert same(straight.ema, halting.ema)
    assert same(straight.network.state_dict(), halting.network.state_dict())


def test_an_interruption_loses_only_what_came_after_the_checkpoint(batches, tmp_path):
    straight = trained(batches, tmp_path / "straight", 8)
    trained(batches, tmp_path / "killed", 4)

    def interrupt(progress):
        if progress.step == 6:
            raise KeyboardInterrupt

    words = len(vocabulary_of(MINIATURE).vocabulary)
    with pytest.raises(KeyboardInterrupt):
        fit(MINIATURE, batches, words, tmp_path / "killed", on_step=interrupt)
    assert same(straight.ema, trained(batches, tmp_path / "killed", 8).ema)


@pytest.mark.slow
def test_two_workers_resume_to_the_bit_and_stay_in_step(batches, tmp_path):
    pair = MINIATURE.model_copy(
        update={"schedule": MINIATURE.schedule.model_copy(update={"workers": 2})}
    )
    words = len(vocabulary_of(pair).vocabulary)
    straight = fit(pair, batches, words, tmp_path / "straight")
    fit(pair, batches, words, tmp_path / "halting", until=4)
    halting = fit(pair, batches, words, tmp_path / "halting")
    assert same(straight.ema, halting.ema)


def test_another_recipes_checkpoint_is_refused(batches, tmp_path):
    trained(batches, tmp_path, 1)
    other = MINIATURE.model_copy(update={"seed": 1})
    with pytest.raises(CorruptFile, match="belongs to recipe"):
        Trainer(other, batches, len(vocabulary_of(other).vocabulary), tmp_path)


def test_a_truncated_checkpoint_is_named(batches, tmp_path):
    checkpoint = trained(batches, tmp_path, 1).checkpoint
    checkpoint.write_bytes(checkpoint.read_bytes()[:100])
    with pytest.raises(CorruptFile, match="delete it to start over"):
        trained(batches, tmp_path, 2)


def test_a_trained_policy_loads(tmp_path):
    files = {}
    for i, task in enumerate(MINIATURE.tasks):
        files[task] = demo_file(MINIATURE, task, tmp_path)
        made = made_up(i)
        np.savez(files[task], **{k: np.asarray(v) for k, v in vars(made).items()})
    train_policy(MINIATURE, files, tmp_path / "policy")
    card = load_policy(str(tmp_path / "policy")).card
    assert (card.recipe, card.steps) == (MINIATURE.key, 8)


def test_a_truncated_demonstration_file_is_named(tmp_path):
    path = tmp_path / "left.npz"
    np.savez(path, frames=np.zeros(3))
    with pytest.raises(CorruptFile, match="delete it and collect again"):
        load_demonstrations(path)


def test_a_batch_is_a_function_of_step_and_worker(batches):
    first, again = batches.draw(3), batches.draw(3)
    assert torch.equal(first.pictures, again.pictures)
    assert torch.equal(first.words, again.words)
    assert not torch.equal(first.pictures, batches.draw(4).pictures)
    shares = [batches.draw(3, rank, 2) for rank in range(2)]
    assert [len(share.words) for share in shares] == [4, 4]
    assert not torch.equal(shares[0].state, shares[1].state)


def test_words_are_hidden_only_where_the_scene_decides(batches):
    tokenizer = vocabulary_of(MINIATURE)
    heard = {tuple(tokenizer.encode(text)) for text in MINIATURE.tasks["left"].prompts}
    hidden = 0
    for step in range(20):
        batch = batches.draw(step)
        for spoken, words in zip(batch.spoken.tolist(), batch.words.tolist(), strict=True):
            if tuple(spoken) in heard:
                assert words == spoken
            else:
                hidden += MASK in words or UNKNOWN in words or set(words) == {PAD}
    assert hidden > 20


def test_targets_stop_at_the_end_of_the_demonstration(batches):
    valid = torch.cat([batches.draw(step).valid for step in range(20)])
    assert set(valid.sum(1).tolist()) <= {2.0, 3.0}


def test_the_learning_rate_warms_up_and_decays():
    schedule = replace_schedule(steps=100, warmup=10)
    rates = [learning_rate(schedule, step) for step in range(100)]
    assert rates[0] < rates[9] > rates[50] > rates[99] > 0


def replace_schedule(**changes: int) -> Schedule:
    return MINIATURE.schedule.model_copy(update=changes)


def test_demonstrations_are_keyed_by_what_decides_them():
    longer = MINIATURE.model_copy(update={"schedule": replace_schedule(steps=9)})
    assert longer.demo_key("left") == MINIATURE.demo_key("left")
    assert longer.key != MINIATURE.key
    assert MINIATURE.demo_key("left") != MINIATURE.demo_key("right")


def test_a_crop_that_leaves_the_picture_is_refused():
    network = MINIATURE.network.model_copy(update={"crop": Crop(row=4, column=2, size=12)})
    with pytest.raises(ValueError, match="leaves the 16 px picture"):
        Recipe.model_validate({**MINIATURE.model_dump(), "network": network.model_dump()})


def test_the_bundled_recipe_lets_the_scene_decide_only_where_it_can():
    recipe = load_recipe()
    shared_start = [t for t in recipe.tasks if t.startswith(("multi/", "faucet-"))]
    assert len(shared_start) == 10
    assert not any(recipe.tasks[t].scene_decides for t in shared_start)


def test_drawing_does_not_change_the_demonstrations():
    demos = made_up(0)
    kept = replace(demos, frames=demos.frames.copy())
    Batches(MINIATURE, vocabulary_of(MINIATURE), {"left": demos, "right": demos}).draw(0)
    assert np.array_equal(kept.frames, demos.frames)
