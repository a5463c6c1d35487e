"""The anatomy of a policy on a terminal: facts, a table of its pathways, a tree of their parts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from vlascope.anatomy.looking import Anatomy, PathwayAnatomy, SpansAt
from vlascope.hooks import HookPoint
from vlascope.specs import ActionSpec

__all__ = ["draw", "folded", "rounded"]

_NARROW = 72
_SHOWN_MODULES = 6
_SHOWN_HASH = 16


def draw(anatomy: Anatomy, summary: str = "", console: Console | None = None) -> None:
    """Print a policy's anatomy."""
    console = console or Console()
    narrow = console.width < _NARROW
    parts: list[RenderableType] = [
        _title(anatomy, summary),
        "",
        _facts(anatomy),
        "",
        _table(anatomy, 1 if narrow else 2),
        "",
        _tree(anatomy),
        "",
        _footnote(anatomy),
    ]
    console.print(Group(*parts), highlight=False)


def _title(anatomy: Anatomy, summary: str) -> Text:
    title = Text.assemble((anatomy.info.name, "bold"), f"  {anatomy.info.checkpoint}")
    return title.append(f"\n{summary}", "italic") if summary else title


def _facts(anatomy: Anatomy) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    for what, said in _said(anatomy):
        table.add_row(Text(what), Text(said))
    return table


def _said(anatomy: Anatomy) -> Iterator[tuple[str, str]]:
    info, total = anatomy.info, anatomy.parameters.total
    yield "network", f"{anatomy.network}, {total:,} parameters, {' and '.join(anatomy.dtypes)}"
    yield "sha256", info.checkpoint_hash[:_SHOWN_HASH]
    some = (
        "all executed" if info.horizon == info.executed_steps else f"{info.executed_steps} executed"
    )
    yield "chunk", f"{info.horizon} action{'s'[: info.horizon - 1]}, {some}"
    yield "action", _action(info.action)
    for name, state in info.state.items():
        named = _grouped(state.names, [f"({unit})" for unit in state.units])
        yield "state", f"{name}: {', '.join(named)}"
    for name, camera in info.cameras.items():
        flipped = "" if camera.upright else ", upside down"
        size = f"{camera.height} x {camera.width}"
        yield "camera", f"{name}: {size}, {camera.render} rendering{flipped}"
    yield "can also", ", ".join(anatomy.capabilities) or "nothing optional"
    for name, note in info.notes.items():
        yield name.replace("_", " "), note


def _action(spec: ActionSpec) -> str:
    said = {"frame": spec.frame, "rotation": spec.rotation, "gripper": spec.gripper}
    kinds = [f"{what} {kind}" for what, kind in said.items() if kind != "none"]
    ranges = [f"in [{low:g}, {high:g}]" for low, high in zip(spec.low, spec.high, strict=True)]
    return "; ".join([", ".join([spec.control, *kinds]), *_grouped(spec.names, ranges)])


def _grouped(names: Sequence[str], said: Sequence[str]) -> Iterator[str]:
    """Names with what is said of each, neighbours of which the same is said together."""
    for one, group in groupby(zip(names, said, strict=True), key=lambda pair: pair[1]):
        yield f"{' '.join(name for name, _ in group)} {one}"


def _table(anatomy: Anatomy, gap: int) -> Table:
    table = Table(box=None, padding=(0, gap, 0, 0), pad_edge=False, header_style="bold")
    table.add_column("pathway")
    for name in ("blocks", "width", "neurons", "calls", "tokens", "points", "params"):
        table.add_column(name, justify="right", no_wrap=True)
    for pathway in anatomy.pathways:
        declared, count = pathway.declared, pathway.parameters
        table.add_row(
            declared.name,
            str(declared.n_layers),
            _range(declared.block_widths or [declared.width]),
            str(declared.ffn_width or "-"),
            str(declared.calls_per_chunk or "varies"),
            _range([s.tokens for s in _block_spans(pathway)]),
            str(pathway.points),
            "?" if count is None else rounded(count.number),
        )
    empty = ("",) * 6
    table.add_row("elsewhere", *empty, rounded(anatomy.parameters.elsewhere.number), style="dim")
    total = rounded(anatomy.parameters.total)
    table.add_row("total", *empty[1:], str(anatomy.points), total, style="bold")
    return table


def _tree(anatomy: Anatomy) -> Tree:
    tree = Tree(Text(anatomy.info.name, "bold"), guide_style="dim")
    for pathway in anatomy.pathways:
        branch = tree.add(Text(pathway.declared.name, "bold"))
        for what, said in _leaves(pathway):
            branch.add(Text.assemble((f"{what}: ", "dim"), said))
    return tree


def _leaves(pathway: PathwayAnatomy) -> Iterator[tuple[str, str]]:
    declared = pathway.declared
    for layers, sites in _sites_by_layers(pathway):
        yield f"{declared.name}.{_numbered(layers)}", ", ".join(sites)
    if pathway.named:
        yield "named", ", ".join(pathway.named)
    if pathway.dead:
        yield "dead", ", ".join(folded(pathway))
    yield from _spans(pathway)
    if len(declared.mixes) > 1:
        yield "mixes", ", ".join(declared.mixes)
    if declared.read_per_layer:
        yield "read", "by another pathway at every block, not at the last alone"
    if pathway.parameters is not None:
        yield "params of", _some(pathway.parameters.modules)


def _sites_by_layers(pathway: PathwayAnatomy) -> list[tuple[tuple[int, ...], list[str]]]:
    """Sites, those in the same blocks together."""
    found: dict[tuple[int, ...], list[str]] = {}
    for site, layers in pathway.sites.items():
        found.setdefault(layers, []).append(site)
    if pathway.attention:
        found.setdefault(pathway.attention, []).append("attn_probs")
    return list(found.items())


def _spans(pathway: PathwayAnatomy) -> Iterator[tuple[str, str]]:
    """(where and when, streams), places with equal spans together."""
    alike: dict[tuple[tuple[int, ...], str], list[str]] = {}
    for at in pathway.spans:
        said = ", ".join(
            f"{name}[{start}]" if stop == start + 1 else f"{name}[{start}:{stop}]"
            for name, (start, stop) in at.spans.items()
        )
        alike.setdefault((at.calls, said), []).append(at.where)
    every = {call for at in pathway.spans for call in at.calls}
    whole = pathway.declared.name
    for (calls, said), places in sorted(alike.items(), key=lambda item: whole not in item[1]):
        place = "" if places == [whole] else f" at {', '.join(places)}"
        when = "" if set(calls) == every else f" on call {_numbered(calls)}"
        yield f"tokens{place}{when}", said or "none"


def _block_spans(pathway: PathwayAnatomy) -> list[SpansAt]:
    """Those of blocks: of the pathway or of its layers, not of single points."""
    name = pathway.declared.name
    return [s for s in pathway.spans if s.where == name or s.where.split(".")[-1].isdigit()]


def folded(pathway: PathwayAnatomy) -> list[str]:
    """The dead points shortened: `vlm.3.*` where a whole block is dead."""
    sites_at: dict[int, list[str]] = {}
    named = []
    for point in map(HookPoint.parse, pathway.dead):
        if point.layer is None:
            named.append(str(point))
        else:
            sites_at.setdefault(point.layer, []).append(point.site)
    alike: dict[tuple[str, ...], list[int]] = {}
    for layer, sites in sorted(sites_at.items()):
        whole = [site for site, layers in pathway.sites.items() if layer in layers]
        alike.setdefault(("*",) if set(sites) >= set(whole) else tuple(sites), []).append(layer)
    name = pathway.declared.name
    return [
        *(f"{name}.{_numbered(layers)}.{_braced(sites)}" for sites, layers in alike.items()),
        *named,
    ]


def _footnote(anatomy: Anatomy) -> Text:
    dead = f"{len(anatomy.dead)} of them dead: their value cannot reach the action"
    points = f"{anatomy.points} hook points, {dead if anatomy.dead else 'none of them dead'}"
    said = (
        f"{points}. Tokens are those of an example: {anatomy.example!r}. The params "
        "of a pathway are those of the largest modules that hold its hook points and no other "
        "pathway's."
    )
    elsewhere = anatomy.parameters.elsewhere.modules
    return Text(f"{said}\nElsewhere: {_some(elsewhere)}." if elsewhere else said, "dim")


def rounded(number: int) -> str:
    """Three digits and a unit: `1.62 M`, `73.1 k`, `816`."""
    for unit, size in (("", 1), ("k", 10**3), ("M", 10**6), ("B", 10**9)):
        scaled = number / size
        if scaled < 999.5 or unit == "B":
            break
    if not unit:
        return str(number)
    digits = 2 if scaled < 9.995 else 1 if scaled < 99.95 else 0
    return f"{scaled:.{digits}f} {unit}"


def _numbered(numbers: Sequence[int]) -> str:
    """`3`, `{0..3}` or `{0,2}`."""
    if len(numbers) == 1:
        return str(numbers[0])
    if list(numbers) == list(range(numbers[0], numbers[-1] + 1)):
        return f"{{{numbers[0]}..{numbers[-1]}}}"
    return _braced([str(number) for number in numbers])


def _braced(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{{{','.join(names)}}}"


def _range(numbers: Sequence[int]) -> str:
    if not numbers:
        return "?"
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low}-{high}"


def _some(modules: Sequence[str]) -> str:
    names = [name or "all of it" for name in modules[:_SHOWN_MODULES]]
    more = len(modules) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")
