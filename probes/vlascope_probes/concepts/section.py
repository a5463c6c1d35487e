"""The report's chapter on concepts: where they are, and what editing them did."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vlascope.rollout.arrays import EpisodeArrays
from vlascope.sections import Block, Cell, Section, Table
from vlascope.statistics import Comparison, Pair, compare
from vlascope.study.groups import Cell as TaskSeed
from vlascope.study.recipe import Reading
from vlascope_probes.concepts.labelling import episodes_of, label
from vlascope_probes.concepts.objects import quantity
from vlascope_probes.concepts.recipe import ConceptRecipe
from vlascope_probes.concepts.scene import Episode
from vlascope_probes.concepts.validation import Chosen
from vlascope_probes.concepts.vocabulary import Vocabulary, load_vocabulary
from vlascope_probes.evidence import Evidence

__all__ = ["concept_section", "own_measure"]


def concept_section(recipe: ConceptRecipe, reading: Reading) -> Section:
    """Where concepts are, then each tested one's edits against baseline and controls."""
    found = reading.analyses.get(f"{reading.name}_search")
    if found is None:
        return Section(
            name=reading.name,
            title=recipe.title,
            policy=reading.policy,
            unresolved=("The search for concepts did not come about, so nothing was edited.",),
        )
    chosen = [Chosen.model_validate(c) for c in found.data["chosen"]]
    rows = _Rows(recipe, reading)
    tested = [row for c in chosen for row in rows.of(c)]
    blocks: list[Block] = [*found.blocks]
    if tested:
        blocks.append(_table(tested))
    return Section(
        name=reading.name,
        title=recipe.title,
        policy=reading.policy,
        sentences=(*found.sentences, *rows.sentences),
        blocks=tuple(blocks),
        unresolved=(*found.unresolved, *_fewer(recipe, chosen), *rows.unresolved),
    )


def own_measure(
    vocabulary: Vocabulary, concept: str, episodes: Sequence[Episode], reference: Sequence[Episode]
) -> dict[str, float]:
    """What a concept's edit should move, by episode: its quantity's mean, else its share.

    An episode that cannot say, and a concept that the instruction alone decides, are left out.
    """
    asked = vocabulary[concept]
    if asked.measure is not None:
        tracks = {
            e.name: quantity(asked.measure[0], e, vocabulary.setting, asked.measure[1])
            for e in episodes
        }
        return {
            n: float(np.nanmean(t))
            for n, t in tracks.items()
            if t is not None and np.isfinite(t).any()
        }
    if asked.of_text:
        return {}
    chosen = vocabulary.among([concept])
    labels = label(chosen, episodes, known=vocabulary, reference=reference)
    return {n: float(t.mean()) for n, t in labels.labelled[concept].truth.items()}


class _Rows:
    """The edits of tested concepts, measured."""

    def __init__(self, recipe: ConceptRecipe, reading: Reading) -> None:
        self._recipe, self._reading = recipe, reading
        self._vocabulary = load_vocabulary(*recipe.vocabulary)
        self._measuring = reading.measuring
        self._baseline = self._measuring.design.study.baseline_arm
        self._reference = self._episodes(self._baseline)
        self.sentences: list[str] = []
        self.unresolved: list[str] = []

    def of(self, chosen: Chosen) -> list[tuple[str | int | float | Cell | None, ...]]:
        """One row per edit, with its controls below."""
        rows: list[tuple[str | int | float | Cell | None, ...]] = []
        for part, _, words, _ in self._recipe.edits():
            arm = f"{self._reading.name}_{part}_{chosen.rank}"
            controls = {"random direction": f"{arm}.random_direction"}
            if self._recipe.encoder is not None:
                controls["fires as often"] = f"{arm}_matched"
            played = self._row(chosen, arm, f"{chosen.concept}: {words}")
            if played is None:
                self.unresolved.append(f"{arm} was not played.")
                continue
            rows.append(played)
            for role, control in controls.items():
                below = self._row(chosen, control, f"— {role}")
                if below is not None:
                    rows.append(below)
            self._tell(chosen, arm, controls, words)
        return rows

    def _row(
        self, chosen: Chosen, arm: str, title: str
    ) -> tuple[str | int | float | Cell | None, ...] | None:
        success = self._against(arm, "success", binary=True)
        if success is None or not success.difference.n:
            return None
        moved = self._mean(arm, "displacement")
        own = self._own(chosen.concept, arm)
        where = f"{chosen.at} {' '.join(chosen.tokens or ())}".strip()
        plain = None if own is None else Cell(estimate=own.difference, unit="1", signed=True)
        return (
            title,
            where if not title.startswith("—") else "",
            Cell(estimate=success.difference, signed=True),
            success.p,
            moved,
            plain,
            None if own is None else own.p,
        )

    def _tell(self, chosen: Chosen, arm: str, controls: dict[str, str], words: str) -> None:
        """A sentence where the edit does more than its control does, or cannot be told apart."""
        for role, control in controls.items():
            for what, mine, other in self._outcomes(chosen.concept, arm, control):
                against = _paired(mine, other, binary=what == "success")
                d = against.difference
                if d.value is None or not d.n:
                    continue
                told = (
                    f"{d.value:+.3g} (n = {d.n}, 95% {_ends(d.low, d.high)}, p = {against.p:.2g})"
                )
                name = f"`{chosen.concept}` {words} at {chosen.at}"
                if d.resolved and against.p is not None and against.p < 0.05:
                    self.sentences.append(f"{name}: {what} differs from {role} by {told}.")
                elif what == "success":
                    least = against.detectable
                    size = "no difference, however large," if least is None else f"{least:.2g}"
                    self.unresolved.append(
                        f"{name}: success differs from {role} by {told}; below {size} nothing "
                        "could be seen at this n."
                    )

    def _outcomes(
        self, concept: str, arm: str, control: str
    ) -> list[tuple[str, dict[TaskSeed, float | None], dict[TaskSeed, float | None]]]:
        found = [("success", self._values(arm, "success"), self._values(control, "success"))]
        mine, other = self._own_values(concept, arm), self._own_values(concept, control)
        if mine and other:
            measure = self._vocabulary[concept].measure
            what = "the share of its moments" if measure is None else f"mean {measure[0]}"
            found.append((what, mine, other))
        return found

    def _own(self, concept: str, arm: str) -> Comparison | None:
        mine, other = self._own_values(concept, arm), self._own_values(concept, self._baseline)
        return _paired(mine, other, binary=False) if mine and other else None

    def _own_values(self, concept: str, arm: str) -> dict[TaskSeed, float | None]:
        if not self._known(arm):
            return {}
        episodes = self._episodes(arm)
        found = own_measure(self._vocabulary, concept, episodes, self._reference)
        cells = {e.name: (e.task, int(e.name.rsplit("/", 1)[1])) for e in episodes}
        return {cells[name]: value for name, value in found.items()}

    def _episodes(self, arm: str) -> list[Episode]:
        played = self._measuring.episodes.of(self._reading.policy, arm)
        evidence = {
            p.record.plan.episode: Evidence(p.record, EpisodeArrays.load(p.run_dir, p.record))
            for p in played
            if p.ok
        }
        return episodes_of(evidence)

    def _against(self, arm: str, metric: str, *, binary: bool) -> Comparison | None:
        if not self._known(arm):
            return None
        return _paired(
            self._values(arm, metric), self._values(self._baseline, metric), binary=binary
        )

    def _mean(self, arm: str, metric: str) -> float | None:
        values = [v for v in self._values(arm, metric).values() if v is not None]
        return float(np.mean(values)) if values else None

    def _values(self, arm: str, metric: str) -> dict[TaskSeed, float | None]:
        if not self._known(arm):
            return {}
        return self._measuring.values(self._reading.policy, arm, metric)

    def _known(self, arm: str) -> bool:
        return bool(self._measuring.episodes.of(self._reading.policy, arm))


def _paired(
    arm: dict[TaskSeed, float | None], control: dict[TaskSeed, float | None], *, binary: bool
) -> Comparison:
    pairs = [Pair(cell[0], value, control.get(cell)) for cell, value in arm.items()]
    return compare(pairs, binary=binary)


def _table(rows: Sequence[tuple[str | int | float | Cell | None, ...]]) -> Table:
    return Table(
        title="Editing the strongest concepts",
        caption=(
            "Each concept's direction or feature taken away or added, with its controls below: "
            "success minus the unedited policy's (paired by task and seed, exact McNemar p), mean "
            "distance of the hand from the unedited path in metres, and the concept's own "
            "quantity minus the unedited policy's (sign-flip p); the share of moments at which "
            "the concept holds, where it names no quantity; empty for what the instruction says."
        ),
        columns=("concept and edit", "where", "success", "p", "displacement", "its own", "p"),
        rows=tuple(rows),
    )


def _fewer(recipe: ConceptRecipe, chosen: Sequence[Chosen]) -> tuple[str, ...]:
    if len(chosen) >= recipe.top:
        return ()
    return (
        f"{len(chosen)} of the {recipe.top} concepts to be tested stood against the null; the "
        "arms of the others have nothing to edit.",
    )


def _ends(low: float | None, high: float | None) -> str:
    return "unknown" if low is None or high is None else f"{low:.3g} to {high:.3g}"
