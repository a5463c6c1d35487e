"""The table of the zoo: what each bundled policy is, what it took, how often it succeeds."""

from __future__ import annotations

from collections.abc import Iterator

from vlascope_adapters.tinyvla.evaluation import SUCCESS, SuccessTable, TaskSuccess
from vlascope_zoo.recipe import lessons
from vlascope_zoo.trained import Card, card_of, checkpoint_folder, trained_names

__all__ = ["policies", "tables"]

_GROUPS = ("unique", "shared", "multi")


def policies() -> Iterator[tuple[str, Card, SuccessTable]]:
    """Every bundled policy that has been measured, in alphabetical order."""
    for name in trained_names():
        measured = checkpoint_folder(name) / SUCCESS
        if measured.is_file():
            yield name, card_of(name), SuccessTable.model_validate_json(measured.read_text())


def tables() -> str:
    """Two Markdown tables: policies by group of tasks, and policies by task."""
    found = list(policies())
    head = ("policy", "parameters", "demonstrations", "steps x batch", "CPU minutes", *_GROUPS)
    rows = [[f"`zoo:{name}`", *_made(card), *_groups(table)] for name, card, table in found]
    by_task = [
        [task, *(_share(table.tasks.get(task)) for _, _, table in found)]
        for task in lessons().tasks
    ]
    names = [f"`{name}`" for name, _, _ in found]
    return f"{_markdown(head, rows)}\n\n{_markdown(('task', *names), by_task)}\n"


def _made(card: Card) -> tuple[str, ...]:
    return (
        f"{card.parameters / 1e6:.2f} M",
        str(sum(card.demonstrations.values())),
        f"{card.steps} x {card.batch}",
        f"{card.cpu_seconds / 60:.1f}",
    )


def _groups(table: SuccessTable) -> list[str]:
    return [_interval(table.groups.get(group)) for group in _GROUPS]


def _interval(found: TaskSuccess | None) -> str:
    if found is None:
        return "not measured"
    return f"{found.value:.2f} ({found.low:.2f} to {found.high:.2f}, n = {found.n})"


def _share(found: TaskSuccess | None) -> str:
    return "not measured" if found is None else f"{found.successes}/{found.n}"


def _markdown(head: tuple[str, ...], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    print(tables(), end="")
