"""Published claims, each put as a test on numbers that any policy can have."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from vlascope.errors import unknown_name
from vlascope.study.quantity import Depth

__all__ = ["Claim", "Need", "Published", "Test", "claim", "load_claims"]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Published(_Strict):
    """A figure as others printed it; none of these was measured here.

    Attributes:
        of: whose policy, on what.
        figure: as printed.
        n: how many episodes it rests on, where that was said.
        source: the paper.
    """

    of: str
    figure: str
    n: int | None = None
    source: str


class Test(_Strict):
    """One number, and the side of a bound that the claim puts it on.

    Attributes:
        key: of the quantity.
        pathway: where; None for every pathway that has it, each judged by itself.
        depth: a third; all layers where empty; None for whatever there is, each by itself.
        minus_pathway: judge the number of `pathway` minus that of this one in the same policy,
            taken as measured on different episodes.
        site: None for every site, each judged by itself.
        above, below: the claimed side.
        within: the margin in which the claim says that it lies.
        contrast: the name of a pair of entries whose difference (first minus second) is judged in
            place of each entry's own number.
        spread_of: judge by how much the number's size exceeds the standard deviation, over
            architectures, of the true values of this other key; of the pooled number alone.
    """

    __test__ = False

    key: str
    pathway: str | None = None
    depth: Depth | None = ""
    minus_pathway: str = ""
    site: str | None = None
    above: float | None = None
    below: float | None = None
    within: tuple[float, float] | None = None
    contrast: str = ""
    spread_of: str = ""

    @model_validator(mode="after")
    def _one_side(self) -> Test:
        if sum(side is not None for side in (self.above, self.below, self.within)) != 1:
            raise ValueError(f"{self.key}: exactly one of above, below and within")
        if self.minus_pathway and self.pathway is None:
            raise ValueError(f"{self.key}: minus_pathway needs `pathway`")
        if self.within is not None and self.within[0] >= self.within[1]:
            raise ValueError(f"{self.key}: within {list(self.within)} has no inside")
        return self

    @property
    def bounds(self) -> tuple[float | None, float | None]:
        """Low and high end of what the claim says; None where it is open."""
        return self.within if self.within is not None else (self.above, self.below)


class Need(_Strict):
    """What an entry must have so that a test says something: enough success to lose, say.

    Attributes:
        key, pathway: of the quantity; of the whole policy unless said otherwise.
        at_least: its value.
        why: what would be wrong without, `nothing can be lost`.
    """

    key: str
    pathway: str = ""
    at_least: float
    why: str


class Claim(_Strict):
    """What someone published, and when numbers agree with it.

    Attributes:
        id: short and stable.
        section: of what it speaks.
        question: the kind of recipe whose numbers it needs.
        statement: one sentence.
        published: the figures behind it.
        rule: in words, when numbers agree; where the bound is ours it says so.
        tests: all have to agree for the claim to; one that disagrees is enough against it.
        needs: without which an entry says nothing.
        cannot: why these numbers cannot speak of it, where it has no test.
    """

    id: Annotated[str, Field(pattern=r"^[a-z0-9_]+(\.[a-z0-9_]+)+$")]
    section: Literal[
        "injection", "language", "autoencoders", "general features", "concepts", "probes"
    ]
    question: str
    statement: str
    published: tuple[Published, ...] = ()
    rule: str = ""
    tests: tuple[Test, ...] = ()
    needs: tuple[Need, ...] = ()
    cannot: str = ""

    @model_validator(mode="after")
    def _tested_or_why_not(self) -> Claim:
        if bool(self.tests) == bool(self.cannot):
            raise ValueError(f"{self.id}: either `tests`, or `cannot` with the reason")
        if self.tests and not self.rule:
            raise ValueError(f"{self.id}: say the rule in words")
        return self

    @property
    def keys(self) -> frozenset[str]:
        """Of all the quantities it speaks of."""
        tested = {key for t in self.tests for key in (t.key, t.spread_of) if key}
        return frozenset(tested | {n.key for n in self.needs})


class _File(_Strict):
    claims: tuple[Claim, ...]

    @model_validator(mode="after")
    def _names_differ(self) -> _File:
        ids = [c.id for c in self.claims]
        twice = sorted({i for i in ids if ids.count(i) > 1})
        if twice:
            raise ValueError(f"claims of one id: {twice}")
        return self


@cache
def load_claims() -> tuple[Claim, ...]:
    """Every claim known, those that cannot be tested too."""
    text = Path(__file__).with_suffix(".yaml").read_text("utf-8")
    return _File.model_validate(yaml.safe_load(text)).claims


def claim(name: str) -> Claim:
    """The claim of that id.

    Raises:
        UnknownName: there is none.
    """
    found = {c.id: c for c in load_claims()}
    if name not in found:
        raise unknown_name("claim", name, found)
    return found[name]
