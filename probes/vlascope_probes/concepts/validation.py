"""The analysis behind causal validation: find the strongest concepts, and edits that test them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from vlascope.directions import Direction, save_directions
from vlascope.encoders import Encoder, open_encoder
from vlascope.errors import UnusableActivations
from vlascope.hooks import HookPoint
from vlascope.study.analysis import Analysis, AnalysisContext, AnalysisResult
from vlascope.study.depth import expand_depth
from vlascope_probes.concepts.labelling import episodes_of
from vlascope_probes.concepts.overview import (
    calls_of,
    direction_name,
    find_directions,
    overview,
    places_of,
)
from vlascope_probes.concepts.results import DirectionScore, FeatureScores, Overview
from vlascope_probes.concepts.scene import Episode
from vlascope_probes.concepts.scoring import score_features
from vlascope_probes.concepts.showing import (
    best_places,
    feature_table,
    heat_maps,
    overview_table,
)
from vlascope_probes.concepts.vocabulary import Vocabulary, load_vocabulary
from vlascope_probes.evidence import read_evidence

__all__ = ["Chosen", "ConceptSearch"]


class Chosen(BaseModel):
    """One concept to be tested, and what stands for it.

    Attributes:
        rank: from 1, the number in arm names.
        concept: its name.
        at, tokens: where it is edited.
        feature, control: of an encoder, with the feature that fires about as often; None for a
            raw direction.
        told: how clear it is, in words.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rank: int
    concept: str
    at: str
    tokens: tuple[str, ...] | None
    feature: int | None = None
    control: int | None = None
    told: str


class ConceptSearch(Analysis):
    """Judge every concept, and offer edits of the strongest: `ablate_K` and `steer_K`.

    Directions are projected out and added (at strength 1 times each token's norm, or what the arm
    says `with` it); features of an encoder are ablated, and their decoder directions added, with
    `ablate_K_matched` and `steer_K_matched` for the feature that fires as often.

    Attributes:
        at: globs of the hook points recorded and searched.
        tokens: globs of token spans.
        vocabulary: files of concepts beside the built-in ones.
        concepts: only these; none for every one that says something.
        encoder: the folder of an encoder, whose features are scored instead of directions.
        top: how many concepts are tested.
        per_group: at most so many of one group of the vocabulary.
        permutations, fdr, seed: of the null.
    """

    kind: ClassVar[str] = "concepts"

    at: tuple[str, ...]
    tokens: tuple[str, ...] = ("*",)
    vocabulary: tuple[str, ...] = ()
    concepts: tuple[str, ...] = ()
    encoder: str | None = None
    top: Annotated[int, Field(ge=1)] = 10
    per_group: Annotated[int, Field(ge=1)] = 2
    permutations: Annotated[int, Field(ge=19)] = 200
    fdr: Annotated[float, Field(gt=0, lt=1)] = 0.05
    seed: int = 0

    def recordings(self) -> dict[str, tuple[str, ...]]:
        """Every point searched, in every arm read."""
        return dict.fromkeys(self.arms, self.at)

    def run(self, context: AnalysisContext) -> AnalysisResult:
        """Score, choose, and write the edits."""
        vocabulary = load_vocabulary(*self.vocabulary)
        names = {r.plan.episode for records in context.records.values() for r in records}
        evidence = {n: e for n, e in read_evidence(context.run_dir).items() if n in names}
        if not evidence:
            raise UnusableActivations(f"no episode of {', '.join(self.arms)} was finished")
        episodes = episodes_of(evidence)
        if self.encoder is not None:
            return self._features(context, vocabulary, episodes, open_encoder(self.encoder))
        return self._directions(context, vocabulary, episodes)

    def _directions(
        self, context: AnalysisContext, vocabulary: Vocabulary, episodes: list[Episode]
    ) -> AnalysisResult:
        store = context.store()
        where = context.where(self.arms[0]) if len(self.arms) == 1 else None
        points = context.adapter.match(expand_depth(self.at, context.adapter.info.pathways))
        found = overview(
            store,
            vocabulary,
            episodes,
            places_of(store, [str(p) for p in points], self.tokens),
            where=where,
            concepts=self.concepts,
            permutations=self.permutations,
            fdr=self.fdr,
            seed=self.seed,
            say=context.say,
        )
        (context.folder / "overview.json").write_text(found.model_dump_json(indent=1))
        best = self._strongest(found, context.adapter.dead_points())
        wanted = [(s.concept, (s.point, s.span)) for s in best]
        made = find_directions(store, vocabulary, episodes, wanted, where=where)
        path = _saved(context, made)
        edits: dict[str, tuple[dict[str, Any], ...]] = {}
        chosen = []
        for rank, score in enumerate(best, 1):
            name = direction_name(score.concept, (score.point, score.span))
            tokens = (score.span,) if score.span else None
            calls = calls_of(store, (score.point, score.span))
            edits |= _edits(str(rank), score.point, tokens, calls, {"file": path, "name": name})
            told = f"AUC {score.auc:.2f}, d {score.d:.2f}"
            chosen.append(
                Chosen(rank=rank, concept=score.concept, at=score.point, tokens=tokens, told=told)
            )
        return AnalysisResult(
            edits=edits,
            sentences=_sentences(found),
            blocks=(*heat_maps(found), overview_table(found)),
            unresolved=_untold(found.left_out),
            data={
                "chosen": [c.model_dump(mode="json") for c in chosen],
                "found": {p: c._asdict() for p, c in _standing(found).items()},
            },
        )

    def _strongest(self, found: Overview, dead: frozenset[HookPoint]) -> list[DirectionScore]:
        """Concepts that stand at a live point and in other tasks, the clearest first."""
        live = [s for s in found.scores if HookPoint.parse(s.point) not in dead]
        ranked = best_places(found.model_copy(update={"scores": tuple(live)}))
        kept: list[DirectionScore] = []
        for score in ranked:
            alike = sum(k.group == score.group for k in kept)
            if score.stands and score.level != "none" and alike < self.per_group:
                kept.append(score)
        return kept[: self.top]

    def _features(
        self,
        context: AnalysisContext,
        vocabulary: Vocabulary,
        episodes: list[Episode],
        encoder: Encoder,
    ) -> AnalysisResult:
        from vlascope.store import Where

        where = Where(
            episodes=tuple(f"{arm}/*" for arm in self.arms),
            spans=encoder.tokens,
            calls=encoder.calls,
        )
        found = score_features(
            context.store(),
            encoder,
            vocabulary,
            episodes,
            where=where,
            concepts=self.concepts,
            permutations=self.permutations,
            fdr=self.fdr,
            seed=self.seed,
        )
        (context.folder / "features.json").write_text(found.model_dump_json(indent=1))
        chosen = _strongest_features(found, self.top, self.per_group, encoder.tokens)
        numbers = {n for c in chosen for n in (c.feature, c.control) if n is not None}
        made = [
            Direction(
                f"feature_{n}", found.point, encoder.direction(n).numpy(), about=f"feature {n}"
            )
            for n in sorted(numbers)
        ]
        path = _saved(context, made)
        edits: dict[str, tuple[dict[str, Any], ...]] = {}
        for c in chosen:
            for key, n in ((f"{c.rank}", c.feature), (f"{c.rank}_matched", c.control)):
                if n is not None:
                    named = {"file": path, "name": f"feature_{n}"}
                    edits |= _edits(key, c.at, encoder.tokens, encoder.calls, named)
                    edits[f"ablate_{key}"] = (encoder.edit([n]),)
        return AnalysisResult(
            edits=edits,
            sentences=tuple(
                f"{c.discoveries} of {found.tested} features stand for `{c.concept}` "
                f"({c.moments_in} of {c.moments} moments of {c.episodes} episodes)."
                for c in found.concepts
                if c.discoveries
            ),
            blocks=(feature_table(found, 3),),
            unresolved=_untold(found.left_out),
            data={
                "chosen": [c.model_dump(mode="json") for c in chosen],
                "found": {
                    HookPoint.parse(found.point).pathway: {
                        "judged": len(found.concepts),
                        "found": sum(c.discoveries > 0 for c in found.concepts),
                    }
                },
            },
        )


def _strongest_features(
    found: FeatureScores, top: int, per_group: int, tokens: tuple[str, ...] | None
) -> list[Chosen]:
    """Each concept's best feature that stands, no feature twice, by score."""
    ranked = sorted(
        ((f, c) for c in found.concepts for f in c.features if f.stands),
        key=lambda pair: -pair[0].score,
    )
    chosen: list[Chosen] = []
    groups: dict[str, int] = {}
    for feature, concept in ranked:
        taken = any(feature.feature == c.feature or concept.concept == c.concept for c in chosen)
        if taken or groups.get(concept.group, 0) >= per_group or len(chosen) >= top:
            continue
        groups[concept.group] = groups.get(concept.group, 0) + 1
        chosen.append(
            Chosen(
                rank=len(chosen) + 1,
                concept=concept.concept,
                at=found.point,
                tokens=tokens,
                feature=feature.feature,
                control=feature.control,
                told=f"feature {feature.feature}, score {feature.score:.2f}, d {feature.d:.2f}",
            )
        )
    return chosen


def _edits(
    key: str,
    at: str,
    tokens: tuple[str, ...] | None,
    calls: tuple[int, ...] | None,
    named: dict[str, str],
) -> dict[str, tuple[dict[str, Any], ...]]:
    """What takes a direction away, and what adds it."""
    where: dict[str, Any] = {"at": [at], **({"tokens": list(tokens)} if tokens else {})}
    if calls is not None:
        where["calls"] = list(calls)
    steer = {"kind": "steer", **where, "direction": named, "strength": 1.0, "relative": True}
    return {
        f"ablate_{key}": ({"kind": "project_out", **where, "directions": named},),
        f"steer_{key}": (steer,),
    }


def _saved(context: AnalysisContext, made: list[Direction]) -> str:
    if not made:
        return ""
    provenance = {
        "study": context.study.name,
        "adapter": context.adapter.info.name,
        "checkpoint_hash": context.adapter.info.checkpoint_hash,
    }
    path: Path = save_directions(context.folder / "directions.safetensors", made, provenance)
    return str(path.resolve())


class _Standing(NamedTuple):
    """Concepts judged, those found after correction, and of them those above chance elsewhere."""

    judged: int
    found: int
    in_other_tasks: int


def _standing(found: Overview) -> dict[str, _Standing]:
    """By pathway, each concept at its clearest place."""
    judged = len({s.concept for s in found.scores})
    counted = {}
    for pathway in dict.fromkeys(p.split(".")[0] for p, _ in found.places):
        best = [s for s in best_places(found, pathway) if s.stands]
        others = [s for s in best if s.task_held_out is not None and s.task_held_out > 0.5]
        counted[pathway] = _Standing(judged, len(best), len(others))
    return counted


def _sentences(found: Overview) -> tuple[str, ...]:
    """How many concepts can be read at each pathway, and where the clearest are."""
    sentences = []
    for pathway, counted in _standing(found).items():
        best = [s for s in best_places(found, pathway) if s.stands]
        named = ", ".join(f"`{s.concept}` ({s.auc:.2f} at {s.point} {s.span})" for s in best[:3])
        sentences.append(
            f"{pathway}: {counted.found} of {counted.judged} concepts can be read off somewhere "
            f"(FDR {found.fdr:g}), {counted.in_other_tasks} of them above chance in tasks they "
            "were not found in" + (f"; AUC of the clearest: {named}." if named else ".")
        )
    return tuple(sentences)


def _untold(left_out: dict[str, str]) -> tuple[str, ...]:
    """Which concepts were not scored, by reason."""
    by_reason: dict[str, list[str]] = {}
    for name, why in left_out.items():
        by_reason.setdefault(why, []).append(name)
    return tuple(f"Not scored, {why}: {', '.join(n)}." for why, n in by_reason.items())
