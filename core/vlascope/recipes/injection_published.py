"""What others reported for activation injection, as printed; none of it was measured here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from vlascope.sections import Table

__all__ = ["published"]


def published() -> Table:
    """The headline figures with what they are figures of."""
    held: dict[str, Any] = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text())
    return Table(
        title="Published figures (not ours)",
        caption=(
            f"Override as reported in {held['source']} and, for the margin and the prompt alone, "
            "counted in its published data. There, end-effector paths of un-injected controls "
            "already have a cosine of 0.68 to 0.97 to the source; injection into the expert is "
            "reported to displace about twice as much as into the VLM. Ours are another policy, "
            "other tasks and other n: beside them, not comparable one to one."
        ),
        columns=("policy", "condition", "override", "n", "what counts"),
        rows=tuple(tuple(row) for row in held["rows"]),
    )
