"""The checkpoint that knows adverbs: how it was played to, what it says, what it begins with."""

from pathlib import Path

import numpy as np
import pytest
import torch

from vlascope.types import Pose
from vlascope_adapters.tinyvla.adapter import TinyVLAAdapter
from vlascope_adapters.tinyvla.making import beginning, vocabulary_of
from vlascope_adapters.tinyvla.manners import act_in_manner
from vlascope_adapters.tinyvla.narration import NARRATION, narrate
from vlascope_adapters.tinyvla.recipe import load_recipe
from vlascope_adapters.tinyvla.weights import load_policy
from vlascope_benchmarks.metaworld.env import MetaWorld

RECIPE = load_recipe(bundled="adverbs")


class Scene:
    """A hand 20 cm from its target, whose expert goes right and up at full speed."""

    info = MetaWorld().info

    def expert(self):
        return np.array([2.0, 0.0, 2.0, 1.0], np.float32)

    def scene_state(self):
        return {"end_effector": Pose(np.zeros(3)), "object": Pose(np.array([0.2, 0.0, 0.0]))}


def test_a_manner_slows_or_lifts_the_hand_and_leaves_the_gripper():
    slowly = RECIPE.parts["drawer-open slowly"]
    np.testing.assert_allclose(act_in_manner(Scene(), slowly), [0.3, 0, 0.3, 1])
    low = RECIPE.parts["multi/reach-red low"].model_copy(update={"target": "object"})
    low = low.model_copy(
        update={"manner": low.manner.model_copy(update={"speed": 1.0, "height": -0.05})}
    )
    np.testing.assert_allclose(act_in_manner(Scene(), low), [1, 0, -0.5, 1])


def test_every_manner_has_scenes_and_words_of_its_own():
    parts = RECIPE.parts
    assert len(parts) == 22
    seeds = [(p.plays, p.first_seed) for p in parts.values()]
    assert len(set(seeds)) == len(seeds)
    assert "slowly open the drawer" in parts["drawer-open slowly"].prompts
    assert not any("slowly" in text for text in parts["drawer-open plain"].prompts)


def said(actions):
    chunk = torch.tensor(actions).expand(1, 8, 4)
    found = narrate(chunk, torch.ones(1, 8))[0]
    return {word for word, true in zip(NARRATION, found.tolist(), strict=True) if true}


@pytest.mark.parametrize(
    ("action", "words"),
    [
        ([1.0, 0.0, 0.0, -1.0], {"fast", "right", "open"}),
        ([0.0, -0.3, -0.2, 1.0], {"slow", "back", "down", "close"}),
        ([0.0, 0.6, 0.0, 0.0], {"forward"}),
        ([0.0, 0.0, 0.0, 0.0], set()),
    ],
)
def test_the_narration_says_what_the_hand_will_do(action, words):
    assert said(action) == words


def test_training_goes_on_from_the_bundled_weights_and_new_words_differ():
    tokenizer = vocabulary_of(RECIPE)
    tensors, _ = beginning(RECIPE, tokenizer)
    bundled = load_policy("bundled")
    word = "drawer"
    assert torch.equal(
        tensors["words.weight"][tokenizer.index[word]],
        bundled.network.words.weight[bundled.tokenizer.index[word]],
    )
    slow, fast = (tensors["words.weight"][tokenizer.index[w]] for w in ("slow", "fast"))
    assert torch.cosine_similarity(slow, fast, dim=0).abs() < 0.4


def test_the_recipe_of_the_bundled_weights_is_still_theirs():
    assert load_recipe().key == TinyVLAAdapter.from_pretrained("bundled").card.recipe


def test_the_shipped_checkpoint_is_what_its_recipe_makes():
    policy = TinyVLAAdapter.from_pretrained("adverbs")
    assert policy.card.recipe == RECIPE.key
    assert policy.card.steps == RECIPE.schedule.steps
    folder = Path(load_recipe.__code__.co_filename).parent / "weights" / "adverbs"
    assert sum(file.stat().st_size for file in folder.iterdir()) < 4e6
    assert {"slow", "fast", "up", "down", "slowly", "quickly"} <= set(policy.card.vocabulary)
