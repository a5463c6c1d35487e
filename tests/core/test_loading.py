"""A policy by name: tiny, bundled or trained, with the adapter's own options."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import vlascope
from vlascope import plugins
from vlascope.errors import InvalidName, UnknownName
from vlascope.loading import NamedCheckpoint, load
from vlascope_adapters.toy.adapter import ToyAdapter

BLUE = NamedCheckpoint("toy", "blue-folder", {"robot": "one-armed"})


@pytest.fixture
def asked(monkeypatch):
    """The toy adapter's `from_pretrained`, with an option of its own; what it is asked for."""
    calls: list[dict[str, Any]] = []

    class Optional(ToyAdapter):
        @classmethod
        def from_pretrained(
            cls, checkpoint="bundled", *, device="cpu", dtype=torch.float32, robot=None
        ):
            calls.append({"checkpoint": checkpoint, "dtype": dtype, "robot": robot})
            return super().from_pretrained("bundled", device=device, dtype=dtype)

    monkeypatch.setattr(plugins, "adapter_class", lambda name: Optional)
    return calls


def test_without_a_checkpoint_weights_are_random_and_tiny():
    assert load("toy").info.checkpoint == "tiny-0"
    assert load("toy").info.checkpoint_hash == ToyAdapter.tiny(0).info.checkpoint_hash


def test_a_tiny_seed_is_part_of_the_name():
    assert load("toy", "tiny-7").info.checkpoint_hash == ToyAdapter.tiny(7).info.checkpoint_hash


def test_a_checkpoint_goes_to_the_adapter():
    assert load("toy", "bundled").info.checkpoint == "bundled"


@pytest.mark.parametrize("checkpoint", ["tinyish", "tiny-", "tiny-x", "someone/tiny-7"])
def test_what_only_begins_like_tiny_is_a_checkpoint(asked, checkpoint):
    load("toy", checkpoint)
    assert asked[0]["checkpoint"] == checkpoint


@pytest.mark.parametrize("checkpoint", ["tiny", "bundled"])
@pytest.mark.parametrize("dtype", ["bfloat16", torch.bfloat16])
def test_weights_are_of_the_dtype_asked_for(checkpoint, dtype):
    policy = load("toy", checkpoint, dtype=dtype)
    assert {p.dtype for p in policy.model.parameters()} == {torch.bfloat16}
    chunk = policy.infer([policy.example_observation()])
    assert chunk.actions.dtype.name == "float32"


def test_options_go_to_the_adapter(asked):
    load("toy", "someone/policy", robot="libero", dtype="float16")
    wanted = {"checkpoint": "someone/policy", "dtype": torch.float16, "robot": "libero"}
    assert asked == [wanted]


def test_an_unknown_option_lists_those_there_are(asked):
    with pytest.raises(UnknownName, match=r"option of adapter 'toy'.*did you mean 'robot'"):
        load("toy", "someone/policy", robt="libero")
    assert asked == []


def test_an_adapter_that_takes_any_option_gets_it(monkeypatch):
    class Any_(ToyAdapter):
        @classmethod
        def from_pretrained(cls, checkpoint, **options):
            raise RuntimeError(str(sorted(options)))

    monkeypatch.setattr(plugins, "adapter_class", lambda name: Any_)
    with pytest.raises(RuntimeError, match=r"\['device', 'dtype', 'whatever'\]"):
        load("toy", "bundled", whatever=1)


def test_tiny_weights_take_no_options():
    with pytest.raises(InvalidName, match=r"'tiny' weights take no options; got \['robot'\]"):
        load("toy", robot="libero")


def test_adapter_and_checkpoint_may_be_one_word(asked):
    load("toy:somewhere")
    assert asked[0]["checkpoint"] == "somewhere"


def test_two_checkpoints_are_one_too_many():
    with pytest.raises(InvalidName, match="names a checkpoint already"):
        load("toy:bundled", "tiny")


@pytest.fixture
def shelf(monkeypatch):
    """A plugin that names a trained policy `shelf:blue`."""
    entry = plugins.Registered("shelf:blue", f"{__name__}:BLUE", "shelf")
    found = {**plugins.registry(), "checkpoints": {entry.name: entry}}
    monkeypatch.setattr(plugins, "registry", lambda: found)
    monkeypatch.setattr(plugins, "load", lambda kind, name: BLUE)


@pytest.mark.parametrize("words", [("shelf:blue",), ("shelf", "blue"), ("toy", "shelf:blue")])
def test_a_named_checkpoint_is_loaded_with_its_options(shelf, asked, words):
    policy = load(*words)
    assert asked == [{"checkpoint": "blue-folder", "dtype": torch.float32, "robot": "one-armed"}]
    assert (policy.info.name, policy.info.checkpoint) == ("toy", "shelf:blue")


def test_options_of_a_named_checkpoint_may_be_overruled(shelf, asked):
    load("shelf:blue", robot="two-armed", dtype="bfloat16")
    assert asked == [{"checkpoint": "blue-folder", "dtype": torch.bfloat16, "robot": "two-armed"}]


def test_an_unknown_name_on_a_shelf_lists_near_matches(shelf):
    with pytest.raises(UnknownName, match="did you mean 'shelf:blue'"):
        load("shelf:bleu")


@pytest.mark.parametrize("dtype", ["float33", "Tensor", "int8"])
def test_an_unknown_dtype_lists_those_there_are(dtype):
    with pytest.raises(UnknownName, match="no dtype of weights is named"):
        load("toy", dtype=dtype)


def test_an_unknown_adapter_lists_near_matches():
    with pytest.raises(UnknownName, match="did you mean 'toy'"):
        load("toyy")


def test_it_is_the_packages_own_front_door():
    assert vlascope.load is load
