"""Which finished episodes of a run or of a study are meant."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from vlascope.errors import FileMissing, unknown_name
from vlascope.records import EpisodeRecord
from vlascope.rollout.arrays import EpisodeArrays
from vlascope.rollout.ledger import EPISODES, read_episodes

__all__ = ["FinishedEpisode", "find_episodes"]


@dataclass(frozen=True)
class FinishedEpisode:
    """One episode, and where it is.

    Attributes:
        record: what happened.
        run_dir: the folder that its arrays are in.
        policy: the policy's name in a study; empty in a run.
    """

    record: EpisodeRecord
    run_dir: Path
    policy: str = ""

    @property
    def name(self) -> str:
        """`arm/task/seed`, in a study `policy/arm/task/seed`."""
        own = self.record.plan.episode
        return f"{self.policy}/{own}" if self.policy else own

    @property
    def arrays(self) -> EpisodeArrays:
        """Its actions and positions."""
        return EpisodeArrays.load(self.run_dir, self.record)


def find_episodes(
    where: Path, episodes: Sequence[str] | None = None, arms: Sequence[str] | None = None
) -> list[FinishedEpisode]:
    """The episodes of a run or study that are named; those whose environment failed left out.

    Args:
        where: its folder.
        episodes: names or globs, `arm/task/seed` (in a study `policy/arm/task/seed` too); None
            for all.
        arms: names or globs of arms; None for all.

    Raises:
        FileMissing: there is no run or study, or the environment failed in all that are named.
        UnknownName: an episode or arm is not there; near matches are listed.
    """
    found = {e.name: e for e in _all_of(where)}
    every = list(found.values())
    _refuse_unknown("episode", episodes, {n for e in every for n in _names(e)})
    _refuse_unknown("arm", arms, {e.record.plan.arm for e in every})
    meant = [
        e
        for e in every
        if (episodes is None or any(_matches(n, episodes) for n in _names(e)))
        and (arms is None or _matches(e.record.plan.arm, arms))
    ]
    usable = [e for e in meant if e.record.status == "ok"]
    if usable:
        return usable
    if meant:
        raise FileMissing(
            f"the environment failed in {meant[0].name} ({meant[0].record.error}), so there is "
            "nothing to play again; run it again first"
        )
    raise FileMissing(f"no episode of {where} is in the arms and of the names given")


def _all_of(where: Path) -> Iterable[FinishedEpisode]:
    if (where / EPISODES).exists():
        return [FinishedEpisode(record, where) for record in read_episodes(where)]
    if not (where / "study.json").exists():
        raise FileMissing(
            f"{where} holds neither {EPISODES} nor study.json: give the folder of a run or a study"
        )
    from vlascope.study import read_run

    _, played, _ = read_run(where)
    return [FinishedEpisode(p.record, p.run_dir, p.run_dir.name) for p in played]


def _names(episode: FinishedEpisode) -> tuple[str, str]:
    return episode.record.plan.episode, episode.name


def _matches(name: str, wanted: Sequence[str]) -> bool:
    return any(name == one or fnmatchcase(name, one) for one in wanted)


def _refuse_unknown(kind: str, wanted: Sequence[str] | None, known: set[str]) -> None:
    for one in wanted or ():
        if not any(_matches(name, [one]) for name in known):
            raise unknown_name(kind, one, known)
