"""Concepts as tables and heat maps, for the report and the command line."""

from __future__ import annotations

from typing import Any

from vlascope.sections import Figure, Table
from vlascope_probes.concepts.labelling import Labels
from vlascope_probes.concepts.results import DirectionScore, FeatureScores, Overview
from vlascope_probes.concepts.vocabulary import Vocabulary

__all__ = ["best_places", "feature_table", "heat_maps", "overview_table", "standing_rows"]


def best_places(overview: Overview, pathway: str | None = None) -> list[DirectionScore]:
    """Each concept's clearest place (of a pathway), the clearest concept first."""
    best: dict[str, DirectionScore] = {}
    for score in overview.scores:
        if pathway is not None and score.point.split(".")[0] != pathway:
            continue
        before = best.get(score.concept)
        if before is None or _clarity(score) > _clarity(before):
            best[score.concept] = score
    return sorted(best.values(), key=_clarity, reverse=True)


def _clarity(score: DirectionScore) -> tuple[int, float]:
    """What holds in other tasks, then what lies in one; d rounded, so that ties go in order."""
    held_out = score.task_held_out
    more_than_a_task = 1 if held_out is None else 2 * (held_out > 0.5)
    return (more_than_a_task if score.stands else -1, round(score.d, 2))


def overview_table(overview: Overview) -> Table:
    """Each concept at the place where it is clearest."""
    rows = [
        (
            s.concept,
            _place(s.point, s.span),
            round(s.auc, 3),
            _interval(s.low, s.high),
            s.d,
            s.level,
            s.q,
            "yes" if s.stands else "no",
            s.task_held_out,
            s.within_task,
            f"{s.moments_in}/{s.moments}, {s.tasks_in} tasks",
        )
        for s in best_places(overview)
    ]
    return Table(
        title="Concepts where they are clearest",
        caption=(
            "Differences of means, judged in episodes they were not found in: AUC with a 95% "
            "interval over episodes, standardised difference d, q against labels moved between "
            f"episodes ({overview.permutations} draws, FDR {overview.fdr:g}); AUC in tasks it was "
            "not found in (empty: the concept lies in one task, which alone could explain it) and "
            "within tasks. The place is the best of several: its numbers are at their luckiest."
        ),
        columns=(
            "concept", "where", "AUC", "95%", "d", "level", "q", "stands", "other tasks",
            "within tasks", "moments in",
        ),
        rows=tuple(rows),
    )  # fmt: skip


def heat_maps(overview: Overview) -> list[Figure]:
    """One map per pathway: concepts by place; AUC in other tasks, else AUC, of what stands."""
    found = []
    for pathway in dict.fromkeys(point.split(".")[0] for point, _ in overview.places):
        places = [p for p in overview.places if p[0].split(".")[0] == pathway]
        concepts = [s.concept for s in best_places(overview, pathway) if s.stands]
        if not concepts:
            continue
        cells = {(s.concept, (s.point, s.span)): s for s in overview.scores}
        at = [[cells.get((c, p)) for p in places] for c in concepts]
        heat: dict[str, Any] = {
            "type": "heatmap",
            "x": [_place(*p) for p in places],
            "y": concepts,
            "z": [[_shade(s) for s in row] for row in at],
            "text": [[_told(s) for s in row] for row in at],
            "hovertemplate": "%{y}<br>%{x}<br>%{text}<extra></extra>",
            "zmin": 0.5,
            "zmax": 1.0,
            "colorscale": "Viridis",
            "colorbar": {"title": {"text": "AUC"}},
        }
        layout = {
            "height": 160 + 18 * len(concepts),
            "yaxis": {"autorange": "reversed", "automargin": True, "dtick": 1},
            "xaxis": {"automargin": True, "tickangle": -45},
        }
        found.append(
            Figure(
                title=f"Concepts by layer: {pathway}",
                caption=(
                    "AUC of the difference of means in tasks it was not found in (in other "
                    "episodes where the concept lies in one task); empty where it is no discovery."
                ),
                plotly={"data": [heat], "layout": layout},
            )
        )
    return found


def feature_table(scores: FeatureScores, top: int) -> Table:
    """The strongest features of each concept that has any."""
    rows = [
        (
            c.concept,
            f.feature,
            f.score,
            _interval(f.low, f.high),
            f.d,
            f.level,
            f.freq,
            f.rate,
            f.q,
            "yes" if f.stands else "no",
            f.task_held_out,
            f.within_task,
        )
        for c in scores.concepts
        for f in c.features[:top]
    ]
    return Table(
        title=f"Features of {scores.encoder} at {scores.point}",
        caption=(
            "score = d x P(f > 0 within the concept) on the positive side, with a 95% interval "
            "over episodes; firing rate over all moments; q within the concept against labels "
            f"moved between episodes ({scores.permutations} draws, FDR {scores.fdr:g}); lowest "
            "score with any one task left out; d within tasks. The strongest of "
            f"{scores.tested} features: their scores are at their luckiest."
        ),
        columns=(
            "concept", "feature", "score", "95%", "d", "level", "fires within", "fires", "q",
            "stands", "without any one task", "within tasks",
        ),
        rows=tuple(rows),
    )  # fmt: skip


def standing_rows(vocabulary: Vocabulary, labels: Labels | None) -> list[dict[str, Any]]:
    """One row per concept: what it means, and what it is worth in a run."""
    rows = []
    for name, concept in vocabulary.concepts.items():
        row: dict[str, Any] = {"concept": name, "group": concept.group, "about": concept.about}
        if labels is not None:
            s = labels.standing[name]
            row |= {
                "verdict": s.verdict,
                "moments_in": s.moments_in,
                "moments": s.moments,
                "episodes_in": s.episodes_in,
                "tasks_in": s.tasks_in,
                "by_task": s.by_task,
            }
        rows.append(row)
    return rows


def _shade(score: DirectionScore | None) -> float | None:
    if score is None or not score.stands:
        return None
    return round(score.auc if score.task_held_out is None else score.task_held_out, 3)


def _told(score: DirectionScore | None) -> str:
    if score is None:
        return "not scored"
    other = "–" if score.task_held_out is None else f"{score.task_held_out:.2f}"
    return f"AUC {score.auc:.2f}, other tasks {other}, d {score.d:.2f}, q {score.q:.3f}"


def _place(point: str, span: str) -> str:
    return f"{point} {span}".strip()


def _interval(low: float | None, high: float | None) -> str:
    return "–" if low is None or high is None else f"{low:.2f} to {high:.2f}"
