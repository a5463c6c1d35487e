"""Refusing an arm whose edit does nothing, before it costs hours."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from vlascope.errors import EditMisfired
from vlascope.interventions import Intervention
from vlascope.records import EpisodeRecord

__all__ = ["EditGuard"]


class EditGuard:
    """Watches receipts as episodes finish.

    An intervention that should have edited (`expected` > 0) and did not, over the first
    `patience` episodes, is refused at once; one that was never due (its steps or episodes did
    not come up) is refused only at the end.
    """

    def __init__(self, interventions: Sequence[Intervention], patience: int) -> None:
        self._interventions = tuple(interventions)
        self._patience = patience
        self._edits = [0] * len(self._interventions)
        self._expected = [0] * len(self._interventions)
        self._episodes = 0

    @property
    def settled(self) -> bool:
        """Whether nothing speaks against committing what has finished."""
        return self._episodes >= self._patience or all(self._edits)

    def count(self, record: EpisodeRecord) -> None:
        """Take note of one episode's receipts.

        Raises:
            EditMisfired: an edit was due in the first episodes and never happened.
        """
        if record.status == "error":
            return
        self._episodes += 1
        for i, receipt in enumerate(record.receipts):
            self._edits[i] += receipt.edits
            self._expected[i] += receipt.expected
        if self._episodes >= self._patience:
            self._refuse(i for i, expected in enumerate(self._expected) if expected)

    def close(self) -> None:
        """Refuse, at the end of the arm, every edit that never happened.

        Raises:
            EditMisfired: naming the intervention and what can have kept it from acting.
        """
        if self._episodes:
            self._refuse(range(len(self._interventions)))

    def _refuse(self, which: Iterable[int]) -> None:
        for i in which:
            if self._edits[i]:
                continue
            edit = self._interventions[i]
            raise EditMisfired(
                f"{edit.kind} at {', '.join(edit.at)} edited nothing in {self._episodes} "
                f"episodes ({self._expected[i]} row edits were due): its token globs name no "
                "span there, or its calls, steps or episodes never come up. No episode of this "
                "arm that is not yet written down will be; change the intervention and run again"
            )
