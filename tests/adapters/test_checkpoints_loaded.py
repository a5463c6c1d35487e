"""Checkpoints are loaded whole or not at all, and hashed."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vlascope.errors import CorruptFile
from vlascope_adapters.checkpoints import digest, load_exactly


class Net(nn.Module):
    """A linear layer, and a word embedding tied to the head."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(3, 3)
        self.words, self.head = nn.Embedding(5, 3), nn.Linear(3, 5, bias=False)
        self.head.weight = self.words.weight
        self.register_buffer("steps", torch.tensor(0))


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Net()


@pytest.fixture
def tensors():
    torch.manual_seed(1)
    return {n: t.clone() for n, t in Net().state_dict().items() if n != "head.weight"}


def unchanged(net, tensors, match):
    """Loading fails with a message, and leaves the model as it was."""
    before = digest(net)
    with pytest.raises(CorruptFile, match=match):
        load_exactly(net, tensors, "someone/policy")
    assert digest(net) == before


def test_every_tensor_is_loaded(net, tensors):
    load_exactly(net, tensors, "someone/policy")
    assert torch.equal(net.body.weight, tensors["body.weight"])
    assert torch.equal(net.head.weight, tensors["words.weight"])


@pytest.mark.parametrize("name", ["words.weight", "head.weight"])
def test_tied_parameters_go_by_either_name(net, tensors, name):
    tensors[name] = tensors.pop("words.weight")
    load_exactly(net, tensors, "someone/policy")
    assert torch.equal(net.words.weight, tensors[name])


def test_tied_parameters_may_be_stored_twice_if_they_are_equal(net, tensors):
    load_exactly(net, {**tensors, "head.weight": tensors["words.weight"].clone()}, "x")
    unequal = {**tensors, "head.weight": tensors["words.weight"] + 1}
    unchanged(net, unequal, r"1 shared but unequal \(words.weight = head.weight\)")


def test_missing_tensors_are_named(net, tensors):
    del tensors["body.bias"], tensors["words.weight"]
    unchanged(net, tensors, r"3 missing \(body.bias, words.weight, head.weight\)")


def test_extra_tensors_are_named_the_first_of_them(net, tensors):
    extra = {f"other.{i}": torch.zeros(1) for i in range(7)}
    unchanged(net, {**tensors, **extra}, r"7 unexpected \(other.0, .*, other.4 and 2 more\)")


def test_other_shapes_are_named(net, tensors):
    tensors["body.weight"] = torch.zeros(3, 4)
    unchanged(net, tensors, r"1 of another shape \(body.weight is \(3, 4\), not \(3, 3\)\)")


def test_another_architecture_is_suspected(net):
    unchanged(net, {"conv.weight": torch.zeros(2)}, "of another architecture, or half of one")


def test_the_hash_is_that_of_the_values_and_names(net):
    first = digest(net)
    assert first == digest(net)
    assert len(first) == 64
    with torch.no_grad():
        net.body.bias[0] += 1e-6
    assert digest(net) != first


def test_the_hash_tells_dtype_shape_and_statistics_apart(net):
    hashes = [
        digest(net),
        digest(net, {"mean": torch.ones(2)}),
        digest(net, {"mean": torch.ones(1, 2)}),
    ]
    hashes.append(digest(net.to(torch.bfloat16)))
    assert len(set(hashes)) == 4


def test_the_hash_takes_every_kind_of_tensor():
    odd = {
        "scalar": torch.tensor(3),
        "empty": torch.zeros(0, 2),
        "flags": torch.tensor([True, False]),
        "view": torch.arange(6).reshape(2, 3).T,
    }
    assert digest(nn.Module(), odd) == digest(nn.Module(), {k: v.clone() for k, v in odd.items()})
