"""TinyVLA on other robots: what recipes say of benchmarks is what policies read and write."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from vlascope.errors import UnknownName
from vlascope.specs import ActionSpec
from vlascope.types import Pose
from vlascope_adapters.tinyvla.batches import Batches, Normalisation
from vlascope_adapters.tinyvla.command import _recipe
from vlascope_adapters.tinyvla.demonstrations import Demonstrations, collect_task
from vlascope_adapters.tinyvla.demonstrations import load_demonstrations as load
from vlascope_adapters.tinyvla.making import card_of, specs_of, vocabulary_of
from vlascope_adapters.tinyvla.network import TinyVLA
from vlascope_adapters.tinyvla.objective import Lessons, losses
from vlascope_adapters.tinyvla.recipe import SHIPPED_RECIPES, Recipe, load_recipe
from vlascope_benchmarks.metaworld.env import MetaWorld

LIBERO, ALOHA = load_recipe(bundled="libero"), load_recipe(bundled="aloha")


def changed(recipe: Recipe, part: str, **values: object) -> Recipe:
    """The recipe, validated again, with fields of one of its parts set."""
    content = recipe.model_dump()
    content[part].update(values)
    return Recipe.model_validate(content)


def made_up(recipe: Recipe) -> Demonstrations:
    """Two demonstrations of twelve steps, of noise, as the recipe would have them."""
    rng = np.random.default_rng(0)
    plan, size = recipe.demonstrations, recipe.benchmark.size
    places = rng.standard_normal((12, len(plan.landmarks), 3))
    return Demonstrations(
        frames=rng.integers(0, 256, (12, size, size, 3), dtype=np.uint8),
        states=rng.standard_normal((12, recipe.network.state_dim), dtype=np.float32),
        frame_step=np.arange(0, 24, 2),
        actions=5 + rng.standard_normal((24, recipe.network.action_dim)).astype(np.float32),
        hands=rng.standard_normal((24, 3 * len(plan.hands)), dtype=np.float32),
        last_step=np.repeat([11, 23], 12),
        landmarks=places.astype(np.float32),
        tries=2,
    )


def drawn_from(recipe: Recipe) -> Batches:
    return Batches(recipe, vocabulary_of(recipe), {next(iter(recipe.tasks)): made_up(recipe)})


@pytest.mark.parametrize("name", SHIPPED_RECIPES)
def test_a_shipped_recipe_is_called_by_its_name(name):
    assert _recipe(Path(name)) == load_recipe(bundled=name)


def test_what_was_added_since_leaves_the_names_of_old_demonstrations():
    assert load_recipe().demo_key("faucet-open") == "836582e1f32928b8"
    adverbs = load_recipe(bundled="adverbs")
    assert adverbs.demo_key("multi/reach-red plain") == "915e8dae69446cd3"


def test_practice_and_evaluation_share_no_initial_state():
    choice = LIBERO.benchmark
    practised = list(islice(choice.practice_seeds(0), 60))
    unseen = list(islice(choice.unseen_seeds(7000), 20))
    assert {seed % 50 for seed in practised} == set(range(35))
    assert {seed % 50 for seed in unseen} == set(range(35, 50))
    assert min(unseen) == 7035


def test_without_initial_states_of_its_own_a_benchmark_offers_every_seed():
    choice = ALOHA.benchmark
    assert list(islice(choice.practice_seeds(3), 3)) == [3, 4, 5]
    assert list(islice(choice.unseen_seeds(7000), 3)) == [7000, 7001, 7002]


@pytest.mark.parametrize("recipe", [LIBERO, ALOHA], ids=["libero", "aloha"])
def test_losses_of_other_arms_are_numbers(recipe):
    small = changed(recipe, "schedule", batch=4)
    network = TinyVLA(small.network, len(vocabulary_of(small).vocabulary))
    plan = small.demonstrations
    lessons = Lessons(small.network, len(plan.landmarks), len(plan.hands))
    found = losses(network, lessons, drawn_from(small).draw(0), 1).total(small.schedule)
    assert torch.isfinite(found)


def test_absolute_targets_are_learned_in_their_own_scale_and_given_back_in_rad():
    batches = drawn_from(changed(ALOHA, "schedule", batch=64))
    scale, raw = batches.scales.action, torch.from_numpy(made_up(ALOHA).actions)
    torch.testing.assert_close(scale.mean, raw.mean(0))
    torch.testing.assert_close(scale.undo(scale(raw)), raw)
    assert batches.draw(0).actions.abs().mean() < 1


def test_steps_are_learned_as_they_are():
    scale = drawn_from(LIBERO).scales.action
    same = Normalisation.none(7)
    assert torch.equal(scale.mean, same.mean)
    assert torch.equal(scale.std, same.std)


@pytest.mark.parametrize(("recipe", "dims"), [(LIBERO, (11, 7)), (ALOHA, (14, 14))])
def test_the_card_says_what_the_benchmark_says(recipe, dims):
    pytest.importorskip("gym_aloha")
    scales = drawn_from(recipe).scales
    card = card_of(recipe, vocabulary_of(recipe), scales, 1)
    again = type(card).model_validate_json(card.model_dump_json())
    assert (sum(spec.dim for spec in again.state.values()), again.action.dim) == dims
    assert again == card
    assert again.action == specs_of(recipe)[0]
    torch.testing.assert_close(again.scales.action.std, scales.action.std)


def test_a_network_that_does_not_fit_the_benchmark_is_refused_before_training():
    with pytest.raises(ValueError, match="states of 11 and actions of 7 numbers"):
        specs_of(changed(LIBERO, "network", action_dim=4))
    with pytest.raises(UnknownName, match="eef_position"):
        specs_of(changed(LIBERO, "benchmark", streams=["eef_positions"]))


def test_only_steps_of_a_hand_are_narrated():
    with pytest.raises(ValueError, match="no such words"):
        changed(LIBERO, "schedule", narration_weight=0.1)


class TwoArms(MetaWorld):
    """A robot of two joints and a gripper; it succeeds at once, and notes what it was told."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[np.ndarray] = []
        spec = ActionSpec(
            ("a", "b", "grip"), "joint_absolute", "none", "none", "none", (-2.0,) * 3, (2.0,) * 3
        )
        self.info = replace(self.info, action=spec)

    def start(self, task, *, seed):
        self.steps = 0

    def expert(self):
        return np.array([1.5, -9.0, 0.5], np.float32)

    def step(self, action):
        from vlascope.types import StepResult

        self.told.append(action)
        return StepResult(success=True)

    def observe(self):
        from vlascope.types import Observation

        picture = np.zeros((192, 192, 3), np.uint8)
        state = {"speeds": np.ones(2, np.float32), "joints": np.zeros(3, np.float32)}
        return Observation("", {"other": picture + 1, "top": picture}, state)

    def scene_state(self):
        return {
            "end_effector.left": Pose(np.array([1.0, 2, 3])),
            "end_effector.right": Pose(np.array([4.0, 5, 6])),
        }


def test_noise_camera_streams_and_hands_are_those_of_the_recipe(tmp_path):
    noisy = changed(ALOHA, "demonstrations", noisy=[1.0, 0.0], white_noise=1.0, drift_noise=1.0)
    recipe = changed(noisy, "benchmark", streams=["joints"])
    task = recipe.tasks["transfer-cube"].model_copy(update={"demos": 12, "plays": "faucet-open"})
    recipe = recipe.model_copy(update={"tasks": {"two": task}})
    robot = TwoArms()
    found = load(collect_task(robot, recipe, "two", tmp_path))
    told = np.array(robot.told)
    assert np.ptp(told[:, 0]) > 0.1
    assert told[:, 0].max() <= 2
    assert (told[:, 1:] == [-2, 0.5]).all()
    assert (found.actions == [1.5, -2, 0.5]).all()
    assert (found.hands == [1, 2, 3, 4, 5, 6]).all()
    assert found.states.shape[1] == 3
    assert not found.frames.any()
    assert np.isnan(found.landmarks).all()
