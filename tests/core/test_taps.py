"""Taps show (batch, tokens, width) and write what they are given."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vlascope.hooks import HookPoint
from vlascope.taps import InputTap, OutputTap, ResidualTap, TokenTap, block_points, single_token


class Net(nn.Module):
    """x + branch(norm(x)), then a head; in the layout (tokens, batch, width) where asked."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.norm, self.branch = nn.LayerNorm(4), nn.Linear(4, 4)
        self.pair, self.head = Pair(), nn.Linear(4, 2)

    def forward(self, x):
        x = x + self.branch(self.norm(x))
        return self.head(self.pair(x, scale=x)[1])


class Pair(nn.Module):
    def forward(self, x, *, scale):
        return x, 2 * scale


@pytest.fixture
def net():
    return Net().requires_grad_(False)


@pytest.fixture
def x():
    return torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(1))


TAPS = [
    OutputTap("branch"),
    OutputTap("pair", item=1),
    InputTap("head"),
    InputTap("pair", argument="scale"),
    ResidualTap("norm", "branch"),
]


@pytest.mark.parametrize("tap", TAPS, ids=str)
def test_a_tap_reads_without_changing_anything(net, x, tap):
    before, seen = net(x), []
    handles = tap.attach(net, seen.append)
    assert torch.equal(net(x), before)
    assert seen[0].shape == (3, 5, 4)
    for handle in handles:
        handle.remove()
    net(x)
    assert len(seen) == 1


@pytest.mark.parametrize("tap", TAPS, ids=str)
def test_what_a_tap_writes_is_what_a_second_tap_reads(net, x, tap):
    target, seen = torch.randn_like(x), []
    tap.attach(net, lambda _: target)
    tap.attach(net, seen.append)
    net(x)
    torch.testing.assert_close(seen[0], target)


def test_the_residual_is_written_skip_connection_included(net, x):
    target = torch.randn_like(x)
    ResidualTap("norm", "branch").attach(net, lambda _: target)
    torch.testing.assert_close(net(x), net.head(2 * target))


def test_a_branch_keeps_its_type_when_the_stream_has_a_wider_one(x):
    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.branch = nn.Identity(), nn.Linear(4, 4).to(torch.bfloat16)

        def forward(self, x):
            out = self.branch(self.norm(x).to(torch.bfloat16))
            assert out.dtype == torch.bfloat16
            return x + out

    net, target = Mixed(), torch.randn_like(x)
    ResidualTap("norm", "branch").attach(net, lambda _: target)
    torch.testing.assert_close(net(x), target, atol=0.02, rtol=0.02)


def test_a_tuple_keeps_its_other_items(net, x):
    OutputTap("pair", item=0).attach(net, torch.zeros_like)
    torch.testing.assert_close(net(x), net.head(2 * (x + net.branch(net.norm(x)))))


@pytest.mark.parametrize(
    "tap", [OutputTap("branch", seq_first=True), InputTap("head", seq_first=True)]
)
def test_a_network_that_lays_tokens_first_is_seen_batch_first(net, x, tap):
    seen = []

    def edit(value):
        seen.append(value)
        return value

    before = net(x)
    tap.attach(net, edit)
    assert torch.equal(net(x), before)
    assert seen[0].shape == (5, 3, 4)


class Camera(nn.Module):
    """A convolution over a picture, then a vector a row, then a number."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.vector = nn.Conv2d(3, 4, 2, stride=2), nn.Linear(4, 5)
        self.head = nn.Linear(5, 1)

    def forward(self, picture):
        return self.head(self.vector(self.conv(picture).mean((2, 3))))


FEATURE_MAP = TokenTap(
    OutputTap("conv"),
    lambda value: value.flatten(2).transpose(1, 2),
    lambda new, like: new.transpose(1, 2).reshape(like.shape),
)
SHAPES = {
    "feature map": (FEATURE_MAP, (2, 6, 4)),
    "vector": (single_token(OutputTap("vector")), (2, 1, 5)),
}


@pytest.fixture
def picture():
    return torch.randn(2, 3, 4, 6, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("tap", "shape"), SHAPES.values(), ids=SHAPES)
def test_any_tensor_can_be_seen_as_tokens(picture, tap, shape):
    net, seen = Camera(), []
    before = net(picture)
    handles = tap.attach(net, seen.append)
    assert torch.equal(net(picture), before)
    assert seen[0].shape == shape
    for handle in handles:
        handle.remove()
    net(picture)
    assert len(seen) == 1


@pytest.mark.parametrize(("tap", "shape"), SHAPES.values(), ids=SHAPES)
def test_edited_tokens_go_back_where_they_came_from(picture, tap, shape):
    net, target, seen = Camera(), torch.randn(shape), []
    tap.attach(net, lambda _: target)
    tap.attach(net, seen.append)
    net(picture)
    assert torch.equal(seen[0], target)


def test_tokens_of_a_feature_map_are_its_pixels_row_by_row(picture):
    net, seen = Camera(), []
    FEATURE_MAP.attach(net, seen.append)
    net(picture)
    assert torch.equal(seen[0][:, 4], net.conv(picture)[:, :, 1, 1])


def test_a_vector_that_is_edited_is_what_comes_next(picture):
    net, target = Camera(), torch.randn(2, 1, 5)
    single_token(OutputTap("vector")).attach(net, lambda _: target)
    torch.testing.assert_close(net(picture), net.head(target[:, 0]))


def test_blocks_get_a_tap_at_every_site():
    points = block_points(
        "vlm",
        ["lm.layers.0", "lm.layers.1"],
        {"attn_out": lambda block: OutputTap(f"{block}.attention"), "resid_post": OutputTap},
    )
    assert points == {
        HookPoint("vlm", 0, "attn_out"): OutputTap("lm.layers.0.attention"),
        HookPoint("vlm", 0, "resid_post"): OutputTap("lm.layers.0"),
        HookPoint("vlm", 1, "attn_out"): OutputTap("lm.layers.1.attention"),
        HookPoint("vlm", 1, "resid_post"): OutputTap("lm.layers.1"),
    }


def test_no_blocks_have_no_points():
    assert block_points("vlm", [], {"resid_post": OutputTap}) == {}
