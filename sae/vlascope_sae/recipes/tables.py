"""Tables and figures of the chapter on autoencoders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from vlascope.report.wording import p_value
from vlascope.sections import Block, Cell, Figure, Table
from vlascope.statistics import Estimate

if TYPE_CHECKING:
    from vlascope_sae.recipes.hooked import Hooked
    from vlascope_sae.recipes.results import Found, Judged, Outcome

__all__ = ["hooked_figure", "hooked_table", "learned_from", "offline_blocks"]

_COLOURS: Final = ("#0072B2", "#D55E00", "#009E73")
_SYMBOLS: Final = ("circle", "square", "diamond")


def learned_from(per: str) -> str:
    """The kind of rows in words."""
    return "tokens" if per == "token" else "pooled"


def offline_blocks(outcome: Outcome) -> tuple[Block, ...]:
    """What can be said without playing: reconstruction, plans, kinds of features."""
    if not outcome.found:
        return ()
    acted = [f for f in outcome.found if f.action is not None]
    plans: tuple[Block, ...] = (_plans_figure(acted), _plans_table(acted)) if acted else ()
    others = (_sparsities(outcome),) if outcome.others else ()
    return (_reconstruction(outcome.found), *plans, *others, _classes(outcome.found))


def _reconstruction(found: Sequence[Found]) -> Table:
    return Table(
        title="Reconstruction",
        caption="On held-out episodes, which are resampled for the intervals. FVU: fraction of "
        "variance unexplained, of the rows that the autoencoder learned from (their mean over "
        "tokens where pooled), and of single tokens, which the splice replaces. Silent: latents "
        "that fired in no held-out row (n latents).",
        columns=("at", "learned from", "latents", "L0", "FVU", "FVU of tokens", "silent",
                 "training rows", "episodes"),
        rows=tuple(
            (
                f"`{f.point}`",
                learned_from(f.per),
                f"{f.d_sae} of width {f.d_in}",
                Cell(estimate=f.l0, unit="1"),
                Cell(estimate=f.fvu, unit="1"),
                Cell(estimate=f.spliced_fvu, unit="1"),
                Cell(estimate=f.silent),
                f.training_rows,
                f"{f.trained} + {f.held_out} held out",
            )
            for f in found
        ),
    )  # fmt: skip


def _sparsities(outcome: Outcome) -> Table:
    every: list[Judged] = []
    for played in outcome.found:
        beside = (f for f in outcome.others if (f.point, f.per) == (played.point, played.per))
        every += sorted((played, *beside), key=lambda f: f.k)
    return Table(
        title="Against sparsity",
        caption="Autoencoders of other sparsities beside those that are played, on the same "
        "held-out episodes. Fidelity of plans: 1 \u2212 reconstruction / mean activation.",
        columns=("at", "learned from", "L0", "FVU", "FVU of tokens", "fidelity"),
        rows=tuple(
            (
                f"`{f.point}`",
                learned_from(f.per),
                Cell(estimate=f.l0, unit="1"),
                Cell(estimate=f.fvu, unit="1"),
                Cell(estimate=f.spliced_fvu, unit="1"),
                None if f.action is None else Cell(estimate=f.action.fidelity, unit="1"),
            )
            for f in every
        ),
    )


def _plans_table(found: Sequence[Found]) -> Table:
    rows = []
    for f in found:
        assert f.action is not None
        a = f.action
        sizes = [Cell(estimate=e, unit="1") for e in (a.splice, a.random, a.mean)]
        change = Cell(estimate=a.against_random, unit="1", signed=True)
        fidelity = Cell(estimate=a.fidelity, unit="1")
        rows.append((f"`{f.point}`", learned_from(f.per), *sizes, change, fidelity, a.dx_ratio,
                     a.situations))  # fmt: skip
    return Table(
        title="Plans with the reconstruction in place",
        caption="Root mean square change of the planned chunk, every action dimension in units of "
        "half its range, at moments of held-out episodes. Random: an error of the same size at "
        "every token in a random direction. Mean: the mean activation instead, which takes all "
        "information away. Fidelity: 1 \u2212 reconstruction / mean.",
        columns=("at", "learned from", "reconstruction", "random", "mean", "against random",
                 "fidelity", "mean \u2016\u0394x\u2016/\u2016x\u2016", "moments"),
        rows=tuple(rows),
    )  # fmt: skip


def _plans_figure(found: Sequence[Found]) -> Figure:
    labels = [f"{f.point}, {learned_from(f.per)}" for f in found]
    series: dict[str, list[Estimate]] = {"reconstruction": [], "random, equal norm": [], "mean": []}
    for f in found:
        assert f.action is not None
        for name, value in zip(
            series, (f.action.splice, f.action.random, f.action.mean), strict=True
        ):
            series[name].append(value)
    return _dots(
        "How far plans move",
        "Change of the planned chunk, in half ranges; bars are intervals over held-out episodes.",
        labels,
        series,
        "change of the plan",
    )


def _classes(found: Sequence[Found]) -> Table:
    return Table(
        title="General or memorised",
        caption="The published classifier (arXiv 2603.19183) on all recorded episodes; n counts "
        "features that fired. It was fitted on other policies and episodes. AUC: how well the "
        "firing rate alone separates its two classes; near 1, `general` says little more than "
        "`fires often`.",
        columns=("at", "learned from", "general", "firing rate, general", "memorised", "AUC",
                 "dead", "in one task", "in every task"),
        rows=tuple(
            (
                f"`{f.point}`",
                learned_from(f.per),
                Cell(estimate=f.general.share),
                f.general.rate_general,
                f.general.rate_memorised,
                f.general.rate_auc,
                f.general.dead,
                f.general.tasks[0] if f.general.tasks else None,
                f.general.tasks[-1] if f.general.tasks else None,
            )
            for f in found
        ),
    )  # fmt: skip


def hooked_table(hooked: Sequence[Hooked]) -> Table:
    """A row per splice that was played."""
    return Table(
        title="Success with the reconstruction in place",
        caption="At every step of the episode; differences are paired by task and seed, p after "
        "Holm over the splices. Random: an error of the same size at every token in a random "
        "direction, which tells the error's size from its direction.",
        columns=("at", "learned from", "success", "against unhooked", "p", "detectable",
                 "against random", "random alone", "mean \u2016\u0394x\u2016/\u2016x\u2016"),
        rows=tuple(
            (
                f"`{h.point or h.pathway}`",
                learned_from(h.per),
                Cell(estimate=h.success),
                Cell(estimate=h.unhooked.difference, signed=True),
                p_value(h.p),
                h.unhooked.detectable,
                None if h.random is None else Cell(estimate=h.random.difference, signed=True),
                None if h.random_success is None else Cell(estimate=h.random_success),
                h.ratio,
            )
            for h in hooked
        ),
    )  # fmt: skip


def hooked_figure(hooked: Sequence[Hooked], plain: Estimate) -> Figure:
    """Success unhooked, spliced, and with a random error of equal norm."""
    labels = [f"{h.point or h.pathway}, {learned_from(h.per)}" for h in hooked]
    nothing = Estimate(value=None, low=None, high=None, n=0, method="not played")
    series = {
        "unhooked": [plain] * len(hooked),
        "reconstruction": [h.success for h in hooked],
        "random, equal norm": [h.random_success or nothing for h in hooked],
    }
    caption = "Bars are Wilson intervals; those of one row share tasks and seeds."
    return _dots("Success with reconstructions", caption, labels, series, "success", top=1.03)


def _dots(
    title: str,
    caption: str,
    labels: Sequence[str],
    series: dict[str, list[Estimate]],
    axis: str,
    *,
    top: float | None = None,
) -> Figure:
    """Points with intervals, a row per label, one symbol per series."""
    traces = [
        _points(name, labels, values, i, len(series))
        for i, (name, values) in enumerate(series.items())
    ]
    layout: dict[str, Any] = {
        "height": 130 + 46 * len(labels),
        "margin": {"l": 10, "r": 20, "t": 30, "b": 50},
        "xaxis": {"title": {"text": axis}, "rangemode": "tozero"},
        "yaxis": {
            "automargin": True,
            "autorange": "reversed",
            "tickvals": list(range(len(labels))),
            "ticktext": list(labels),
        },
    }
    if top is not None:
        layout["xaxis"]["range"] = [-0.03, top]
    return Figure(title=title, caption=caption, plotly={"data": traces, "layout": layout})


def _points(
    name: str, labels: Sequence[str], values: Sequence[Estimate], index: int, of: int
) -> dict[str, Any]:
    known = [(i, e, e.value) for i, e in enumerate(values) if e.value is not None]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [value for _, _, value in known],
        "y": [i + 0.2 * (index - (of - 1) / 2) for i, _, _ in known],
        "text": [labels[i] for i, _, _ in known],
        "customdata": [e.n for _, e, _ in known],
        "hovertemplate": "%{text}: %{x:.3f}, n = %{customdata}<extra>" + name + "</extra>",
        "marker": {"color": _COLOURS[index], "symbol": _SYMBOLS[index], "size": 9},
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [0.0 if e.high is None else e.high - value for _, e, value in known],
            "arrayminus": [0.0 if e.low is None else value - e.low for _, e, value in known],
        },
    }
