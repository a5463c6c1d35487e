"""What others reported for activation injection, as printed; none of it was measured here."""

from __future__ import annotations

from typing import Final

from vlascope.sections import Table

__all__ = ["published"]

_SOURCE: Final = "arXiv 2603.19233"
_ROWS: Final = (
    ("X-VLA", "cross task", "99.8%", "3,150", "cosine to source above cosine to destination"),
    ("X-VLA, margin 0.05", "cross task", "39.8%", None, "60.2% ambiguous, 0% destination"),
    ("pi0.5, expert", "cross task", "99.6%", "1,968", "cosine to source above destination"),
    ("OpenVLA-OFT", "cross task", "77.9%", "1,079", "cosine to source above destination"),
    ("GR00T", "cross task", "57.0%", None, "cosine to source above destination"),
    ("SmolVLA MetaWorld, expert", "cross task", "15.8%", None, "9.0% into the VLM"),
    (
        "published data, libero_goal",
        "cross task",
        "50%",
        None,
        "with the source's *prompt* alone: 51%",
    ),
)


def published() -> Table:
    """The headline figures with what they are figures of."""
    return Table(
        title="Published figures (not ours)",
        caption=(
            f"Override as reported in {_SOURCE} and, for the margin and the prompt alone, counted "
            "in its published data. There, end-effector paths of un-injected controls already have "
            "a cosine of 0.68 to 0.97 to the source; injection into the expert is reported to "
            "displace about twice as much as into the VLM. Ours are another policy, other tasks "
            "and other n: beside them, not comparable one to one."
        ),
        columns=("policy", "condition", "override", "n", "what counts"),
        rows=_ROWS,
        folded=False,
    )
