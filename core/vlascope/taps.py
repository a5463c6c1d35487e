"""How an architecture exposes a hook point for reading and writing.

A tap always shows an activation as (batch, tokens, width), whatever the network's own layout.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from vlascope.hooks import HookPoint

__all__ = [
    "Edit",
    "InputTap",
    "OutputTap",
    "ResidualTap",
    "Tap",
    "TokenTap",
    "block_points",
    "single_token",
]

Edit = Callable[[Tensor], Tensor | None]
"""Sees an activation; returns its replacement, or None to leave it as it is."""


class Tap(Protocol):
    """Reads and writes one activation of one architecture."""

    def attach(self, model: nn.Module, edit: Edit) -> Sequence[RemovableHandle]:
        """Call `edit` on the activation each time it is computed; the handles undo it."""
        ...


@dataclass(frozen=True)
class OutputTap:
    """The output of a module that the policy calls.

    Attributes:
        module: dotted path inside the model.
        item: which element, where the output is a tuple.
        seq_first: whether the network lays it out as (tokens, batch, width).
    """

    module: str
    item: int = 0
    seq_first: bool = False

    def attach(self, model: nn.Module, edit: Edit) -> Sequence[RemovableHandle]:
        """Hook the module's output."""

        def hook(_module: nn.Module, _args: Any, output: Any) -> Any:
            if not isinstance(output, tuple):
                return _edited(output, edit, self.seq_first)
            new = _edited(output[self.item], edit, self.seq_first)
            if new is None:
                return None
            return (*output[: self.item], new, *output[self.item + 1 :])

        return [model.get_submodule(self.module).register_forward_hook(hook)]


@dataclass(frozen=True)
class InputTap:
    """An input of a module that the policy calls.

    Writing here reaches only this module: where a skip connection carries the same tensor past
    it, use `ResidualTap`.

    Attributes:
        module: dotted path inside the model.
        argument: position of the argument, or its keyword.
        seq_first: whether the network lays it out as (tokens, batch, width).
    """

    module: str
    argument: int | str = 0
    seq_first: bool = False

    def attach(self, model: nn.Module, edit: Edit) -> Sequence[RemovableHandle]:
        """Hook the module's input."""

        def hook(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            where = self.argument
            given = args[where] if isinstance(where, int) else kwargs[where]
            new = _edited(given, edit, self.seq_first)
            if new is None:
                return None
            if isinstance(where, int):
                return (*args[:where], new, *args[where + 1 :]), kwargs
            return args, {**kwargs, where: new}

        module = model.get_submodule(self.module)
        return [module.register_forward_pre_hook(hook, with_kwargs=True)]


@dataclass(frozen=True)
class ResidualTap:
    """The residual stream after a branch, where no module computes the sum.

    Reads the stream that enters the branch plus the branch's output; writes through the branch's
    output, so that the skip connection carries the new value on. (A hook on the next norm's input
    would edit the normalised branch alone.)

    Attributes:
        stream: dotted path of the module whose first input is the stream before the branch
            (usually the norm at its start).
        branch: dotted path of the module whose output is added to the stream.
    """

    stream: str
    branch: str

    def attach(self, model: nn.Module, edit: Edit) -> Sequence[RemovableHandle]:
        """Hook the norm to learn the stream, and the branch to edit the sum."""
        before: list[Tensor] = []

        def remember(_module: nn.Module, args: tuple[Tensor, ...]) -> None:
            before[:] = [args[0]]

        def hook(_module: nn.Module, _args: Any, output: Tensor) -> Tensor | None:
            new = edit(before[0] + output)
            return None if new is None else (new - before[0]).to(output.dtype)

        return [
            model.get_submodule(self.stream).register_forward_pre_hook(remember),
            model.get_submodule(self.branch).register_forward_hook(hook),
        ]


@dataclass(frozen=True)
class TokenTap:
    """Another tap whose tensor is not (batch, tokens, width): a feature map, a packed sequence.

    Attributes:
        tap: reaches the tensor.
        tokens: shows it as (batch, tokens, width).
        back: lays edited tokens out as the network wants them, given the tensor it had.
    """

    tap: Tap
    tokens: Callable[[Tensor], Tensor]
    back: Callable[[Tensor, Tensor], Tensor]

    def attach(self, model: nn.Module, edit: Edit) -> Sequence[RemovableHandle]:
        """Hook the inner tap."""

        def seen(value: Tensor) -> Tensor | None:
            new = edit(self.tokens(value))
            return None if new is None else self.back(new, value)

        return self.tap.attach(model, seen)


def single_token(tap: Tap) -> TokenTap:
    """A tap whose tensor is (batch, width), such as a state encoder's output, as one token."""
    return TokenTap(tap, lambda vector: vector[:, None], lambda new, _: new[:, 0])


def block_points(
    pathway: str, blocks: Sequence[str], sites: Mapping[str, Callable[[str], Tap]]
) -> dict[HookPoint, Tap]:
    """The declarative map of a pathway: for each block (a module path), a tap at each site.

    block_points("vlm", [f"lm.layers.{i}" for i in range(12)], {
        "resid_pre": InputTap,
        "attn_out": lambda block: OutputTap(f"{block}.attention"),
        "resid_post": OutputTap,
    })
    """
    return {
        HookPoint(pathway, layer, site): tap(block)
        for layer, block in enumerate(blocks)
        for site, tap in sites.items()
    }


def _edited(value: Tensor, edit: Edit, seq_first: bool) -> Tensor | None:
    """What `edit` makes of a tensor, seen batch first."""
    if not seq_first:
        return edit(value)
    new = edit(value.transpose(0, 1))
    return None if new is None else new.transpose(0, 1)
