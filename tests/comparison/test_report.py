"""The report of a comparison written by hand, so that every number is known."""

import json
import re
from pathlib import Path

import pytest

from vlascope.comparison import ComparisonFile, ComparisonResult, EntryResult
from vlascope.comparison.facts import EntryFacts, PathwayFacts, PlayFacts, PolicyFacts
from vlascope.comparison.members import Spot
from vlascope.comparison.report import write
from vlascope.comparison.report.content import ComparisonContent, content_of
from vlascope.comparison.report.latex import as_tables, escaped
from vlascope.comparison.report.matrix import cell_of
from vlascope.comparison.report.page import page
from vlascope.comparison.report.places import held_of
from vlascope.comparison.report.printable import as_files
from vlascope.comparison.report.prose import markdown
from vlascope.comparison.report.reproducing import commands
from vlascope.comparison.report.styles import looks
from vlascope.report.strips import StripPanel, StripRow
from vlascope.report.wording import interval
from vlascope.sections import Section
from vlascope.statistics import Estimate
from vlascope.study.quantity import Quantity

FAMILIES = {"alpha": "a", "alpha_1": "a", "beta": "b", "gamma": "c", "delta": "d"}
NO_EXPERT = "its policy has no pathway `expert` <script>alert(1)</script>"
FILE = {
    "name": "made",
    "title": "Policies made up <b>by hand</b>",
    "defaults": {"benchmark": {"name": "toy"}, "tasks": ["shared/red"], "seeds": "0-1"},
    "battery": {
        "language": {"kind": "language"},
        "crossing": {"kind": "injection", "conditions": ["cross_task"]},
    },
    "entries": {e: {"policy": "toy:bundled", "family": f} for e, f in FAMILIES.items()},
}


def number(value, n=60, reach=0.1):
    ends = (None, None) if n < 2 else (value - reach, value + reach)
    return Estimate(value=value, low=ends[0], high=ends[1], n=n, method="made by hand")


def language(shift):
    effect = {"signed": True, "against": "own prompt", "p": 0.01}
    return (
        Quantity(key="language.success.own.shared", label="success", value=number(0.8 - shift)),
        Quantity(key="language.success.own.unique", label="unique", value=number(0.9 - shift)),
        Quantity(
            key="language.effect.null.shared", label="null", value=number(-0.4 + shift), **effect
        ),
        Quantity(key="language.interaction.null", label="null: shared minus unique",
                 value=number(-0.3 + shift), **effect),
        Quantity(key="language.effect.null.unique", label="null, unique", value=None, signed=True,
                 why_not="no task of a unique scene"),
        Quantity(key="language.single", label="one episode", value=number(0.123, n=1)),
    )  # fmt: skip


def crossing(shift):
    found = []
    for i, pathway in enumerate(("vlm", "expert")):
        for j, depth in enumerate(("", "early", "mid", "late")):
            at = {"pathway": pathway, "depth": depth, "site": "resid_post"}
            key = "injection.cross_task.override_strict"
            value = 0.2 + 0.3 * i + 0.1 * j + shift
            found += [
                Quantity(key=key, label="override", value=number(value), norm_ratio=0.5, **at),
                Quantity(key=f"{key}.no_injection", label="without", value=number(0.1), **at),
                Quantity(key=f"{key}.against.no_injection", label="beyond", value=number(value),
                         signed=True, against="no injection", **at),
            ]  # fmt: skip
        for layer in (0.0, 0.5, 1.0):
            for target in ("goal", "speed", "phase"):
                found.append(
                    Quantity(key=f"probes.r2.{target}", label=target, unit="1", pathway=pathway,
                             at=layer, value=number(layer, reach=0.05))
                )  # fmt: skip
        for what, value in (("l0", 30.0), ("hooked_rate", 0.6)):
            unit = "1" if what == "l0" else "share"
            found.append(
                Quantity(key=f"saes.{what}.token", label=what, unit=unit, pathway=pathway,
                         depth="mid", at=0.5 + shift, value=number(value + shift))
            )  # fmt: skip
    return tuple(found)


def facts(name):
    policy = PolicyFacts(
        adapter="toy", checkpoint=name, checkpoint_hash=f"abc{name}", network="Net",
        parameters=1234, horizon=8, executed_steps=4,
        pathways=(PathwayFacts(name="vlm", n_layers=4, width=64),),
    )  # fmt: skip
    play = PlayFacts(
        benchmark="toy", tasks=("shared/red",), seeds=(0, 1), max_steps=8, arms=3, planned=12,
        finished=11, errors=1, tries=12, seconds=60.0, work_seconds=30.0,
    )  # fmt: skip
    return EntryFacts(policy=policy, play=play)


def entry(index, name, family):
    known = EntryResult(name, family, name.title(), Path(name), "finished", facts=facts(name))
    shift = 0.05 * index
    said = Section(name="language", title="x", sentences=(f"{name} hears, n = 3.",))
    if name == "gamma":
        return EntryResult(
            name, family, name, Path(name), "finished", facts=facts(name),
            quantities={"language": language(shift)}, not_applicable={"crossing": NO_EXPERT},
        )  # fmt: skip
    if name == "delta":
        return EntryResult(name, family, name, Path(name), "failed", error="no weights")
    return EntryResult(
        name, family, known.title, known.folder, "finished", facts=known.facts,
        quantities={"language": language(shift), "crossing": crossing(shift)},
        sections={"language": said},
    )  # fmt: skip


@pytest.fixture(scope="module")
def result():
    entries = tuple(entry(i, e, f) for i, (e, f) in enumerate(FAMILIES.items()))
    titles = {"language": "When does language matter?", "crossing": "What carries the task?"}
    return ComparisonResult(Path("made"), ComparisonFile.model_validate(FILE), entries, titles)


@pytest.fixture(scope="module")
def content(result):
    row = StripRow(
        arm="alpha", instruction="go", outcome="succeeds", steps=(0,), pictures=("data:,",)
    )
    films = (StripPanel(policy="baseline", task="shared/red", seed=0, rows=(row,)),)
    return content_of(result).model_copy(update={"films": films})


@pytest.fixture(scope="module")
def html(content):
    return page(content)


@pytest.fixture(scope="module")
def told(content):
    """Every printed form of every number that stands in the page's tables."""
    return [
        (found.value, interval(found.value, found.unit, signed=found.signed))
        for chapter in content.chapters
        for row in chapter.rows
        for found in (*row.numbers.values(), *filter(None, [row.pooled]))
        if found.value is not None
    ]


def plain(html):
    """What a reader sees of a page: one space between words."""
    text = re.sub(r"<(script|style).*?</\1>", "", html, flags=re.S)
    text = re.sub(r"<(wbr|span|/span)[^>]*>", "", text).replace("&nbsp;", " ")
    return re.sub(r"\s+", " ", text)


def test_the_data_is_the_whole_report(content):
    assert ComparisonContent.model_validate_json(content.model_dump_json()) == content


def test_every_number_is_the_same_in_page_markdown_and_latex(content, html, told):
    page, prose = plain(html), markdown(content)
    page = page.replace("] n =", "], n =")
    tables = " ".join(as_tables(content).values())
    assert len(told) > 100
    for found, text in told:
        assert text in prose
        assert escaped(text) in tables
        assert (text if found.low is not None else text.replace(", n", " n")) in page


def test_no_number_stands_without_its_n_and_interval(content):
    lines = [s for s in markdown(content).splitlines() if "published:" not in s]
    for text in (*lines, *as_tables(content).values()):
        for n in re.finditer(r"n = \d+", text):
            before, after = text[max(0, n.start() - 3) : n.start()], text[n.end() : n.end() + 14]
            assert "]," in before or "no interval" in after
    cells = [c for row in content.matrix for c in row.cells]
    assert all(c.value.n and c.value.low is not None for c in cells if c.value is not None)


def test_a_cell_that_cannot_be_compared_says_why(content, html):
    rows = {row.entry: {c.question: c for c in row.cells} for row in content.matrix}
    assert rows["gamma"]["crossing"].reason == f"not applicable: {NO_EXPERT}"
    assert rows["delta"]["language"].reason == "failed: no weights"
    assert "no task of a unique scene" in html
    assert "its policy has no pathway <code>expert</code>" in html


def test_a_cell_shows_the_number_that_a_claim_speaks_of(content):
    cell = content.matrix[0].cells[0]
    judged = {t.key for f in content.findings for v in f.by_entry for t in v.tested}
    assert judged
    assert cell.verdict in ("agrees", "disagrees", "cannot tell")
    assert sum(cell.counts.values()) >= 1


def test_a_cell_does_not_tell_again_what_a_question_before_it_told():
    whole = Quantity(key="crossing.moved", label="whole", value=number(0.2), pathway="vlm")
    third = Quantity(
        key="crossing.moved", label="third", value=number(0.4), pathway="vlm", depth="mid"
    )
    entry = EntryResult("a", "a", "a", Path(), "finished", quantities={"thirds": (whole, third)})
    held = held_of({"a": (whole, third)})
    assert cell_of(entry, "thirds", held, {}, {}).value == whole.value
    assert cell_of(entry, "thirds", held, {}, {}, {Spot.of(whole)}).value == third.value


def test_two_seeds_of_one_architecture_count_once(content):
    rows = [r for c in content.chapters for r in c.rows if r.key == "language.effect.null.shared"]
    pooled = rows[0].pooled
    assert (pooled.value.n, pooled.episodes) == (3, 240)
    assert [f.entries for f in pooled.families] == [("alpha", "alpha_1"), ("beta",), ("gamma",)]


def test_findings_state_effect_interval_n_and_verdict(content):
    decided = [f for f in content.findings if f.word != "not applicable"]
    assert decided
    for finding in decided:
        assert all("[" in s and "n = " in s and "claimed" in s for s in finding.sentences)
        if finding.word == "cannot tell":
            assert finding.needed
    assert all(f.why for f in content.findings if f.word == "not applicable")


def test_a_finding_has_the_same_measure_under_its_control_beside_it(content):
    (override,) = [f for f in content.findings if f.claim == "injection.override_strict"]
    assert override.sentences
    for sentence in override.sentences:
        assert "; with no injection 0.10 [0.00, 0.47], n = 2 architectures; claimed" in sentence


def test_the_page_makes_no_request_and_is_small(html):
    own = re.sub(r"<script>.*?</script>", "", html, flags=re.S)
    assert not re.search(r"""(src|href)\s*=\s*["'](?!data:|#|figures/)""", own)
    assert "url(" not in own
    assert html.count("plotly.js v") <= 2
    assert len(html) < 8e6


def test_words_from_a_comparison_cannot_break_the_page(html):
    assert "<script>alert(1)" not in html
    assert "<b>by hand" not in html


def test_a_keyboard_reaches_everything(html):
    assert html.index('class="skip"') < html.index("<nav")
    assert 'aria-pressed="true"' in html
    assert all(
        'tabindex="0"' in m for m in re.findall(r"<div class=\"scroll\"[^>]*region[^>]*>", html)
    )
    for target in re.findall(r'href="#([^"]+)"', html):
        assert f'id="{target}"' in html


def test_every_panel_can_be_saved_as_svg_under_its_figures_name(content, html):
    """By plotly's own button, which has a `data-toggle` too: it is no entry's."""
    assert 'modeBarButtons: [["toImage"]]' in html
    assert 'format: "svg", filename: holder.dataset.file' in html
    assert '"[data-toggle][aria-pressed]"' in html
    names = {d.name for chapter in content.chapters for d in chapter.drawings}
    assert set(re.findall(r'data-file="([^"]+)"', html)) == names
    assert html.count('class="figure"') == html.count("data-file=")


def test_figures_follow_from_coordinates_alone(content):
    drawings = {d.name: d for c in content.chapters for d in c.drawings}
    kinds = {d.type for d in drawings.values()}
    assert kinds == {"profile", "forest", "dots", "heat"}
    profile = drawings["crossing_injection_cross_task_override_strict_thirds"]
    assert profile.panels == ("vlm, resid_post", "expert, resid_post")
    assert [round(at, 2) for at in profile.strands[0].at] == [0.17, 0.5, 0.83]
    forest = drawings["crossing_injection_cross_task_override_strict"]
    assert forest.controls == ("no injection",)
    assert [row.label for row in forest.rows].count("pooled") == 8
    heard = [r for d in drawings.values() if d.type == "forest" for r in d.rows if r.spread]
    assert {row.group for row in heard} >= {"null", "null: shared minus unique"}
    dots = next(d for d in drawings.values() if d.type == "dots")
    assert {(d.x.value, d.y.value) for d in dots.dots} == {(30.0, 0.6), (30.05, 0.65), (30.1, 0.7)}


def test_entries_differ_without_colour():
    seen = looks({f"{f}{i}": f"{f}" for f in "abcdefghij" for i in range(2)})
    assert len({(look.symbol, look.dash) for look in seen.values()}) == len(seen)


def test_figures_as_files_are_the_same_every_time(content):
    seen = looks(content.families)
    drawings = {d.type: d for c in content.chapters for d in c.drawings}
    for drawing in drawings.values():
        files = as_files(drawing, seen)
        assert files["svg"].startswith(b"<?xml")
        assert files["png"].startswith(b"\x89PNG")
    assert as_files(drawings["forest"], seen) == as_files(drawings["forest"], seen)


def test_everything_is_written_and_old_figures_go(result, tmp_path, monkeypatch):
    monkeypatch.setattr(write, "read_comparison", lambda folder: result)
    monkeypatch.setattr(write, "as_files", lambda drawing, seen: {"svg": b"<svg/>", "png": b"png"})
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "gone.svg").write_text("old")
    assert write.write_comparison(tmp_path) == tmp_path / "comparison.html"
    data = json.loads((tmp_path / "comparison.json").read_text())
    assert ComparisonContent.model_validate(data["report"]) == content_of(result)
    assert {p.stem for p in (tmp_path / "tables").glob("*.tex")} == {
        "findings", "matrix", "entries", "language", "crossing",
    }  # fmt: skip
    drawn = {p.stem for p in (tmp_path / "figures").glob("*.svg")}
    drawings = [d for c in content_of(result).chapters for d in c.drawings]
    assert drawn == {d.name for d in drawings if not d.folded}
    assert len(drawn) < len(drawings)
    for name in ("comparison.html", "comparison.md"):
        text = re.sub(r"<script.*?</script>", "", (tmp_path / name).read_text(), flags=re.S)
        linked = re.findall(r'(?:href|src)="(?!data:|#)([^"]+)"|\]\(([^)]+)\)', text)
        files = {a or b for a, b in linked}
        assert files
        assert all((tmp_path / file).is_file() for file in files)


def test_latex_escapes_what_it_must():
    assert escaped("a_b & 50% \u2212 `code`") == r"a\_b \& 50\% $-$ code"
    assert escaped("pooled\\") == r"pooled\textbackslash{}"


def test_every_number_has_its_command(content, html):
    found = commands(content)
    for chapter in content.chapters:
        having = [e for e in FAMILIES if e not in chapter.without]
        assert [entry for entry, _ in found.by_entry[chapter.question]] == having
    assert [entry for entry, _ in found.by_entry["crossing"]] == ["alpha", "alpha_1", "beta"]
    typed = "vlascope compare made.yaml --entry beta --question crossing --yes"
    assert ("beta", typed) in found.by_entry["crossing"]
    assert html.count(typed) == 1
    assert html.count("--entry ENTRY --question crossing --yes") == 1
    assert "--entry ENTRY --question crossing --yes`" in markdown(content)


def test_a_shipped_comparison_is_made_again_by_its_name(content):
    named = commands(content.model_copy(update={"name": "benchmarks"}))
    assert named.whole[0][1] == "vlascope compare benchmarks --yes"
