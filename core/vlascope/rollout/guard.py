"""Refusing an arm whose edit does nothing, before it costs hours."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from vlascope.errors import EditMisfired
from vlascope.interventions import Intervention
from vlascope.records import EpisodeRecord

__all__ = ["EditGuard"]


@dataclass
class _Seen:
    """What one perturbation did over the episodes it was planned for."""

    kind: str
    episodes: int = 0
    pictures: int = 0
    changed: int = 0


class EditGuard:
    """Watches receipts as episodes finish: of interventions, and of perturbations.

    An intervention that should have edited (`expected` > 0) and did not, over the first
    `patience` episodes, is refused at once; one that was never due (its steps or episodes did
    not come up) is refused only at the end.
    """

    def __init__(self, interventions: Sequence[Intervention], patience: int) -> None:
        self._interventions = tuple(interventions)
        self._patience = patience
        self._edits = [0] * len(self._interventions)
        self._expected = [0] * len(self._interventions)
        self._seen: dict[tuple[str, int], _Seen] = {}
        self._episodes = 0

    @property
    def settled(self) -> bool:
        """Whether nothing speaks against committing what has finished."""
        acts = all(self._edits) and all(seen.changed for seen in self._seen.values())
        return self._episodes >= self._patience or acts

    def count(self, record: EpisodeRecord) -> None:
        """Take note of one episode's receipts.

        Raises:
            EditMisfired: an edit was due in the first episodes and never happened, or the policy
                was given other pictures than the perturbations left.
        """
        if record.status == "error":
            return
        self._episodes += 1
        for i, receipt in enumerate(record.receipts):
            self._edits[i] += receipt.edits
            self._expected[i] += receipt.expected
        self._count_perturbed(record)
        if self._episodes >= self._patience:
            self._refuse(i for i, expected in enumerate(self._expected) if expected)
            self._refuse_unseen(
                s for s in self._seen.values() if s.pictures and s.episodes >= self._patience
            )

    def close(self) -> None:
        """Refuse, at the end of the arm, every edit that never happened.

        Raises:
            EditMisfired: naming the intervention and what can have kept it from acting.
        """
        if self._episodes:
            self._refuse(range(len(self._interventions)))
            self._refuse_unseen(self._seen.values())

    def _count_perturbed(self, record: EpisodeRecord) -> None:
        perturbed = record.perturbed
        if perturbed is None:
            return
        if perturbed.delivered != perturbed.looks:
            raise EditMisfired(
                f"in episode {record.plan.episode} the policy was given the perturbed pictures at "
                f"{perturbed.delivered} of {perturbed.looks} looks: something between the "
                "environment and the policy exchanges pictures"
            )
        content = str(record.plan.perturbation)
        for i, receipt in enumerate(perturbed.perturbations):
            seen = self._seen.setdefault((content, i), _Seen(receipt.kind))
            seen.episodes += 1
            seen.pictures += receipt.pictures
            seen.changed += receipt.changed

    def _refuse_unseen(self, seen: Iterable[_Seen]) -> None:
        for one in seen:
            if not one.changed:
                raise EditMisfired(
                    f"perturbation {one.kind} changed no value of any picture that the policy "
                    f"reads in {one.episodes} episodes ({one.pictures} pictures were due): its "
                    "severity is 0, its steps or share of looks never come up, or what it covers "
                    "looks like that already. No episode of this arm that is not yet written "
                    "down will be; change the perturbation and run again"
                )

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
