"""The analysis: fit the map, find what each probe reads, and offer edits that take it out."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any, ClassVar

import numpy as np
from pydantic import Field, field_validator

from vlascope.directions import save_directions
from vlascope.errors import UnusableActivations, unknown_name
from vlascope.hooks import HookPoint
from vlascope.store.durable import write_atomically
from vlascope.study.analysis import Analysis, AnalysisContext, AnalysisResult
from vlascope_probes.evidence import Evidence, read_evidence
from vlascope_probes.linear.fitting import features_at, fit_map
from vlascope_probes.linear.options import ProbeOptions
from vlascope_probes.linear.removal import Removal, Span, span_of
from vlascope_probes.linear.results import ProbeMap
from vlascope_probes.linear.showing import best_sentences, map_blocks, removal_table
from vlascope_probes.linear.targets import Target, catalogue

__all__ = ["ProbeAnalysis", "random_key", "removal_key"]


def removal_key(target: str) -> str:
    """The key of the edits that take out what probes of a target read."""
    return f"without {target}"


def random_key(target: str) -> str:
    """The key of the edits that take out as much at random."""
    return f"without random {target}"


class ProbeAnalysis(Analysis):
    """A layer × target map of what recording arms recorded.

    Writes `probes.json` and `directions.safetensors`, and offers for every entry of `remove` the
    edits that hold its subspace at its mean: in the pathway where it is read most selectively, at
    every probed point whose probe beats all its control tasks, each by its own subspace.

    Attributes:
        at: globs of hook points.
        options: what is probed for, and how.
        remove: targets, or globs of regression targets that are taken out together.
    """

    kind: ClassVar[str] = "probes"

    at: tuple[str, ...]
    options: ProbeOptions = Field(default_factory=ProbeOptions)
    remove: tuple[str, ...] = ()

    @field_validator("at", "remove", mode="before")
    @classmethod
    def _one_is_many(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    def recordings(self) -> dict[str, tuple[str, ...]]:
        """The points, in every arm it reads."""
        return dict.fromkeys(self.arms, self.at)

    def run(self, context: AnalysisContext) -> AnalysisResult:
        """Fit, write, and offer the removals."""
        from vlascope.study.depth import expand_depth

        names = {r.plan.episode for held in context.records.values() for r in held}
        evidence = {n: e for n, e in read_evidence(context.run_dir).items() if n in names}
        globs = expand_depth(self.at, context.adapter.info.pathways)
        points = [str(p) for p in context.adapter.match(globs)]
        actions = context.adapter.info.action.names
        found = fit_map(
            context.store(), evidence, points, self.options, action_names=actions, say=context.say
        )
        write_atomically(context.folder / "probes.json", found.model_dump_json(indent=1).encode())
        spans = {g: self._spans(context, found, evidence, g) for g in self.remove}
        path = str(context.folder / "directions.safetensors")
        items = [i for held in spans.values() for s in held for i in _items(s)]
        if items:
            save_directions(path, items, {"policy": found.policy, "arms": list(self.arms)})
        removals = [s.removal for held in spans.values() for s in held]
        blocks = map_blocks(found) + ((removal_table(removals),) if removals else ())
        return AnalysisResult(
            edits={
                key(group): self._edits(held, path, random=key is random_key)
                for group, held in spans.items()
                for key in (removal_key, random_key)
            },
            sentences=best_sentences(found),
            blocks=blocks,
            unresolved=(
                "That a probe reads something says that it is there, not that the policy uses it: "
                "rollouts with the probe's subspace taken out say that.",
                *_outweighed(removals),
            ),
            data={
                "map": found.table(),
                "layers": {p.name: p.n_layers for p in context.adapter.info.pathways},
                "removals": [r.model_dump() for r in removals],
                "removed_at": {g: [s.removal.point for s in held] for g, held in spans.items()},
            },
        )

    def _spans(
        self, context: AnalysisContext, found: ProbeMap, evidence: dict[str, Evidence], group: str
    ) -> list[Span]:
        """The group's subspace at every point that reads it, in the pathway that reads it best."""
        read = [s for s in found.scores if fnmatchcase(s.target, group)]
        if not read:
            raise unknown_name("probed target to remove", group, found.targets)
        best = HookPoint.parse(max(read, key=lambda s: s.selectivity).point).pathway
        known = catalogue(evidence, context.adapter.info.action.names)
        targets: list[Target] = [known[n] for n in dict.fromkeys(s.target for s in read)]
        if len(targets) > 1 and any(t.kind == "classification" for t in targets):
            raise UnusableActivations(
                f"{group!r} names {[t.name for t in targets]}: labels are removed one by one; "
                "list them under `remove` each by itself"
            )
        there = {s.point for s in read if (s.score.value or 0.0) > max(s.chance, s.control_best)}
        if not there:
            raise UnusableActivations(
                f"no probe of {group!r} beats its control tasks anywhere: there is nothing to "
                "take out; leave it out of `remove`"
            )
        store, spans = context.store(), []
        for name in found.points:
            point = HookPoint.parse(name)
            if point.pathway == best and name in there:
                features = features_at(store, point, evidence, self.options)
                spans.append(span_of(features, name, targets, self.options, name=group))
        return spans

    def _edits(self, spans: list[Span], path: str, *, random: bool) -> tuple[dict[str, Any], ...]:
        edits = []
        for span in spans:
            point = span.removal.point
            tokens = self.options.spans_at(HookPoint.parse(point))
            name = (span.random if random else span.subspace).name
            where = {"at": [point], **({"tokens": list(tokens)} if tokens else {})}
            edits.append(
                {
                    "kind": "erase",
                    **where,
                    "directions": {"file": path, "name": name},
                    "mean": [float(m) for m in span.mean.astype(np.float32)],
                }
            )
        return tuple(edits)


def _outweighed(removals: Sequence[Removal]) -> list[str]:
    """A caveat for every group whose subspace holds much more variance than the random one."""
    said = []
    for group in dict.fromkeys(r.target for r in removals):
        heavy = [r for r in removals if r.target == group and r.variance > 2 * r.random_variance]
        if heavy:
            most = max(heavy, key=lambda r: r.variance)
            said.append(
                f"The subspace of `{group}` holds {most.variance:.0%} of the variance at "
                f"`{most.point}`, the random one {most.random_variance:.0%}: that the policy "
                "suffers more without it may be due to the size of what is taken out and not to "
                "its meaning; the arm along a random direction of equal norm bounds that."
            )
    return said


def _items(span: Span) -> tuple[Any, ...]:
    return (span.subspace, span.random, *span.directions)
