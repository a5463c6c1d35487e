"""Training in the zoo: batches from demonstrations, seeded by step, resumed without a trace."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch

pytest.importorskip("lerobot")
pytest.importorskip("vlascope_zoo")

from vlascope.errors import CorruptFile, FileMissing, UnknownName
from vlascope.loading import load
from vlascope_adapters.tinyvla.demonstrations import Demonstrations
from vlascope_adapters.tinyvla.training import learning_rate
from vlascope_zoo.bundling import bundle
from vlascope_zoo.lessons import Batches, statistics_of
from vlascope_zoo.making import train_policy
from vlascope_zoo.recipe import Recipe, lessons, load_recipe, recipe_names
from vlascope_zoo.trained import checkpoint_folder, checkpoint_in
from vlascope_zoo.training import Trainer

LENGTHS = (7, 5, 9)


def played(seed):
    """Three demonstrations of noise, a picture every second step."""
    g = np.random.default_rng(seed)
    steps = sum(LENGTHS)
    ends = np.cumsum(LENGTHS)
    starts = ends - LENGTHS
    rows = [np.arange(a, b, 2) for a, b in zip(starts, ends, strict=True)]
    pictures = sum(map(len, rows))
    return Demonstrations(
        frames=g.integers(0, 256, (pictures, 96, 96, 3), np.uint8),
        states=g.normal(size=(pictures, 4)).astype(np.float32),
        frame_step=np.concatenate(rows),
        actions=g.uniform(-1, 1, (steps, 4)).astype(np.float32),
        hands=np.zeros((steps, 3), np.float32),
        last_step=np.repeat(ends - 1, LENGTHS),
        landmarks=np.zeros((pictures, 0, 3), np.float32),
        tries=3,
    )


@pytest.fixture(scope="module")
def demos():
    return {"drawer-close": played(0), "faucet-open": played(1)}


def short(name, **changes):
    """A recipe of the zoo, six steps of three rows."""
    recipe = load_recipe(name)
    schedule = recipe.schedule.model_copy(
        update={"steps": 6, "batch": 3, "warmup": 2, "autocast": "float32", **changes}
    )
    return recipe.model_copy(update={"schedule": schedule})


@pytest.fixture(scope="module")
def batches(demos):
    return Batches(short("act", batch=200), demos)


def test_a_chunk_is_what_the_expert_did_next_and_ends_with_its_demonstration(demos, batches):
    first = demos["drawer-close"]
    assert np.array_equal(batches.actions[1, :5], first.actions[2:7])
    assert batches.valid[1].tolist() == [True] * 5 + [False] * 3


def test_a_step_always_draws_the_same_and_another_step_something_else(batches):
    one, again, other = batches.draw(3), batches.draw(3), batches.draw(4)
    assert torch.equal(one.pictures, again.pictures)
    assert one.instructions == again.instructions
    assert not torch.equal(one.actions, other.actions)


def test_only_where_the_scene_decides_is_nothing_said(demos):
    silent = short("act", batch=100, empty_instruction=1.0)
    decided = Batches(silent, {"drawer-close": demos["drawer-close"]}).draw(0)
    told = Batches(silent, {"faucet-open": demos["faucet-open"]}).draw(0)
    assert set(decided.instructions) == {""}
    assert set(told.instructions) == set(lessons().tasks["faucet-open"].prompts)


def test_few_demonstrations_are_the_first_of_many(demos):
    few = Batches(short("act").model_copy(update={"demos": 1}), demos)
    assert len(few.pictures) == 2 * 4
    assert np.array_equal(few.pictures[:4], demos["drawer-close"].frames[:4])


def test_statistics_are_of_every_demonstration(demos):
    found = statistics_of(demos)
    actions = np.concatenate([d.actions for d in demos.values()])
    assert np.allclose(found.action["mean"], actions.mean(0), atol=1e-6)
    assert found.pixels.shape == (64, 96, 96, 3)


@pytest.mark.parametrize("name", ["act", "smolvla"])
def test_interrupted_training_ends_with_the_weights_of_an_undisturbed_one(name, demos, tmp_path):
    recipe, statistics = short(name), statistics_of(demos)
    batches = Batches(recipe, demos)
    whole = Trainer(recipe, batches, statistics, tmp_path / "whole")
    whole.run()
    Trainer(recipe, batches, statistics, tmp_path / "parts").run(until=2)
    resumed = Trainer(recipe, batches, statistics, tmp_path / "parts")
    assert resumed.step == 2
    resumed.run()
    assert whole.losses == resumed.losses
    assert all(torch.equal(value, resumed.ema[key]) for key, value in whole.ema.items())


def test_a_checkpoint_of_another_recipe_is_refused(demos, tmp_path):
    statistics = statistics_of(demos)
    recipe = short("act")
    Trainer(recipe, Batches(recipe, demos), statistics, tmp_path).run(until=1)
    other = recipe.model_copy(update={"seed": 1})
    with pytest.raises(CorruptFile, match="belongs to recipe"):
        Trainer(other, Batches(other, demos), statistics, tmp_path)


def test_half_a_checkpoint_is_refused(demos, tmp_path):
    (tmp_path / "training.pt").write_bytes(b"half")
    recipe = short("act")
    with pytest.raises(CorruptFile, match="delete it"):
        Trainer(recipe, Batches(recipe, demos), statistics_of(demos), tmp_path)


def test_what_training_wrote_loads_with_its_robot(demos, tmp_path):
    files = {}
    for task, found in demos.items():
        files[task] = tmp_path / f"{task}.npz"
        np.savez(files[task], **vars(found))
    card = train_policy("act", short("act"), files, tmp_path / "act")
    named = checkpoint_in(tmp_path / "act")
    policy = load(named.adapter, named.checkpoint, **named.options)
    assert (card.steps, card.demonstrations) == (6, {"drawer-close": 3, "faucet-open": 3})
    assert card.parameters == sum(p.numel() for p in policy.model.parameters())
    assert (policy.info.horizon, policy.info.executed_steps) == (8, 6)
    camera = policy.info.cameras["corner2"]
    assert (camera.height, camera.width, camera.render) == (96, 96, "fast")


def test_what_is_bundled_is_all_but_what_training_goes_on_from(tmp_path):
    run, evaluation = tmp_path / "run", tmp_path / "evaluation"
    (run / "vlm").mkdir(parents=True)
    evaluation.mkdir()
    shutil.copy(checkpoint_folder("act") / "zoo.json", run)
    for file in ("training.pt", "model.safetensors", "vlm/config.json"):
        (run / file).touch()
    with pytest.raises(FileMissing, match="vlascope zoo evaluate"):
        bundle(run, evaluation)
    (evaluation / "success.json").touch()
    place = bundle(run, evaluation, into=tmp_path / "bundled")
    found = sorted(str(p.relative_to(place)) for p in place.rglob("*") if p.is_file())
    assert found == ["model.safetensors", "success.json", "vlm/config.json", "zoo.json"]


def test_the_rate_warms_up_and_falls_to_three_percent():
    schedule = short("act").schedule
    rates = [learning_rate(schedule, step) for step in range(7)]
    assert rates[0] == schedule.learning_rate / 2 * 1.0
    assert max(rates) <= schedule.learning_rate
    assert rates[6] == pytest.approx(0.03 * schedule.learning_rate)


def test_a_recipe_is_known_by_all_that_decides_its_weights():
    recipe = load_recipe("act")
    assert recipe.key == Recipe.model_validate(recipe.model_dump()).key
    assert recipe.key == recipe.model_copy(update={"summary": "other words"}).key
    keys = {recipe.key, *(recipe.model_copy(update=c).key for c in ({"seed": 9}, {"demos": 5}))}
    assert len(keys) == 3


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_reads_and_names_an_architecture(name):
    from vlascope_zoo.architecture import Architecture, architecture_of

    assert isinstance(architecture_of(load_recipe(name)), Architecture)


@pytest.mark.parametrize(
    ("name", "like", "differs"),
    [
        ("act-seed1", "act", {"seed": 1}),
        ("smolvla-seed1", "smolvla", {"seed": 1}),
        ("smolvla-few", "smolvla", {"demos": 5}),
    ],
)
def test_a_second_seed_and_few_demonstrations_change_nothing_else(name, like, differs):
    one, other = load_recipe(name).model_dump(), load_recipe(like).model_dump()
    found = {key: value for key, value in one.items() if value != other[key]}
    assert {key: value for key, value in found.items() if key != "summary"} == differs


def test_an_unknown_recipe_lists_near_matches():
    with pytest.raises(UnknownName, match="did you mean 'act'"):
        load_recipe("actt")
