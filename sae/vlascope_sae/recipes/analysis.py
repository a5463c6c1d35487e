"""The analysis: train, judge offline, and offer each reconstruction as an edit."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from vlascope.errors import UnusableActivations, unknown_name
from vlascope.hooks import HookPoint
from vlascope.records import EpisodeRecord
from vlascope.store import Where
from vlascope.study.analysis import Analysis, AnalysisContext, AnalysisResult
from vlascope.study.depth import expand_depth
from vlascope_sae.recipes.options import FEWEST_EPISODES, Per, SAEOptions
from vlascope_sae.recipes.results import Absent, Found, Judged, Outcome

if TYPE_CHECKING:
    from vlascope.adapter import AdapterInfo
    from vlascope_sae.autoencoder import SparseAutoencoder
    from vlascope_sae.recipes.acting import Acting
    from vlascope_sae.recipes.rows import EpisodeRows

__all__ = ["SAETraining", "splice_key"]


def splice_key(pathway: str, per: Per) -> str:
    """The key of the edit that puts a reconstruction in place."""
    return f"{pathway}.{per}"


class SAETraining(SAEOptions, Analysis):
    """Autoencoders at one relative depth of several pathways, by token and pooled.

    Writes each to `POINT/PER` with its feature index, and offers `PATHWAY.PER`, the reconstruction
    in place of the activation, pinned to the weights written.
    """

    kind: ClassVar[str] = "sae_training"

    def recordings(self) -> dict[str, tuple[str, ...]]:
        """The points, in every arm it reads."""
        globs = tuple(self.at.glob(p) for p in self.at.pathways)
        return dict.fromkeys(self.arms, globs)

    def check(self, info: AdapterInfo) -> None:
        """Refuse a policy that has none of the pathways."""
        known = [p.name for p in info.pathways]
        if not set(known) & set(self.at.pathways):
            raise unknown_name("pathway", self.at.pathways[0], known)

    def run(self, context: AnalysisContext) -> AnalysisResult:
        """Train pathway by pathway; memory holds the rows of one."""
        from vlascope_sae.recipes.acting import Acting
        from vlascope_sae.training.dataset import held_out

        records = {r.plan.episode: r for held in context.records.values() for r in held}
        _enough(records)
        apart = held_out(records, self.validation, self.seed)
        if len(apart) < 2:
            apart = held_out(records, 2 / len(records), self.seed)
        acting = Acting(context, [records[n] for n in sorted(apart)], self.situations)
        found: list[Found] = []
        others: list[Judged] = []
        absent: list[Absent] = []
        edits: dict[str, tuple[dict[str, Any], ...]] = {}
        for pathway in self.at.pathways:
            point = self._point(context, pathway)
            if isinstance(point, Absent):
                absent.append(point)
                continue
            context.say(f"{context.policy}: autoencoders at {point}")
            for one, edit in self._at_point(context, point, records, apart, acting):
                if isinstance(one, Found):
                    found.append(one)
                    edits[splice_key(pathway, one.per)] = (edit,)
                else:
                    others.append(one)
        outcome = Outcome(found=tuple(found), others=tuple(others), absent=tuple(absent))
        return _result(outcome, edits)

    def _point(self, context: AnalysisContext, pathway: str) -> HookPoint | Absent:
        """Where in a pathway, or why nowhere."""
        info = context.adapter.info
        known = [p.name for p in info.pathways]
        if pathway not in known:
            return Absent(
                pathway=pathway, why=f"no such pathway; this policy has {', '.join(known)}"
            )
        (name,) = expand_depth((self.at.glob(pathway),), info.pathways)
        (point,) = context.adapter.match((name,))
        if point in context.adapter.dead_points():
            return Absent(pathway=pathway, why=f"dead site: {point} cannot reach the action")
        return point

    def _at_point(
        self,
        context: AnalysisContext,
        point: HookPoint,
        records: Mapping[str, EpisodeRecord],
        apart: frozenset[str],
        acting: Acting,
    ) -> list[tuple[Judged, dict[str, Any]]]:
        """Every autoencoder of one hook point, with its splice; those to be played are `Found`."""
        from vlascope_sae.recipes.fitting import fitted
        from vlascope_sae.recipes.rows import read_rows, real_spans

        store = context.store()
        tokens = self.tokens or real_spans(store, str(point))
        where = Where(episodes=tuple(records), spans=tokens, calls=self.calls)
        rows = read_rows(store, str(point), where, most=self.rows, seed=self.seed)
        training = [e for e in rows if e.episode not in apart]
        held = [e for e in rows if e.episode in apart]
        if not training or not held:
            raise UnusableActivations(
                f"{point}: {len(training)} episodes to train on and {len(held)} held out have rows"
                + (f" of the tokens {list(tokens)}" if tokens else "")
                + "; name other `tokens` or `calls`, or record more episodes"
            )
        device = context.study.policies[context.policy].device
        made: list[tuple[Judged, dict[str, Any]]] = []
        for (per, l0), sae in fitted(self, training, device).items():
            folder = context.folder / str(point) / (per if l0 is None else f"{per}_l0_{l0:g}")
            edit = self._kept(context, point, per, sae, folder, tokens, sorted(apart))
            one = self._judged(context, point, per, l0, sae, folder, held, acting.error(edit))
            if l0 is None:
                one = self._found(context, point, one, sae, where, (training, held))
            made.append((one, edit))
        return made

    def _kept(
        self,
        context: AnalysisContext,
        point: HookPoint,
        per: Per,
        sae: SparseAutoencoder,
        folder: Path,
        tokens: tuple[str, ...] | None,
        apart: Sequence[str],
    ) -> dict[str, Any]:
        """Write the autoencoder, without what an earlier run left; and the edit that splices it."""
        from vlascope_sae.files import Provenance, read_manifest, save_sae

        shutil.rmtree(folder, ignore_errors=True)
        info = context.adapter.info
        about = Provenance(
            adapter=info.name,
            checkpoint=info.checkpoint,
            checkpoint_hash=info.checkpoint_hash,
            hook_point=str(point),
            spans=tokens,
            pool="none" if per == "token" else "mean",
            calls=self.calls,
            benchmark=context.store().provenance.benchmark,
            samples=self.steps * self.batch_size,
            training={**self.model_dump(mode="json"), "held_out": list(apart)},
        )
        save_sae(folder, sae.cpu(), about, replace=True)
        return {
            "kind": "sae_reconstruct",
            "at": [str(point)],
            "sae": str(folder.resolve()),
            "weights_sha256": read_manifest(folder).weights_sha256,
            **({"tokens": list(tokens)} if tokens else {}),
            **({"calls": list(self.calls)} if self.calls else {}),
        }

    def _judged(
        self,
        context: AnalysisContext,
        point: HookPoint,
        per: Per,
        l0: float | None,
        sae: SparseAutoencoder,
        folder: Path,
        held: Sequence[EpisodeRows],
        acted: dict[str, Any],
    ) -> Judged:
        """What it keeps of episodes it has not seen."""
        from vlascope_sae.recipes.held_out import held_out_fit

        own = held_out_fit(sae, [e.of(per) for e in held], f"{point} {per}")
        spliced = own
        if per != "token":
            spliced = held_out_fit(sae, [e.tokens for e in held], f"{point} tokens")
        pathway = context.adapter.info.pathway(point.pathway)
        return Judged(
            pathway=point.pathway,
            per=per,
            point=str(point),
            at=(point.layer or 0) / max(1, pathway.n_layers - 1),
            folder=str(folder.resolve()),
            d_in=sae.config.d_in,
            d_sae=sae.config.d_sae,
            k=self.config(sae.config.d_in, l0)["k"],
            asked_l0=l0,
            fvu=own.fvu,
            spliced_fvu=spliced.fvu,
            l0=own.l0,
            silent=own.silent,
            **acted,
        )

    def _found(
        self,
        context: AnalysisContext,
        point: HookPoint,
        judged: Judged,
        sae: SparseAutoencoder,
        where: Where,
        rows: tuple[Sequence[EpisodeRows], Sequence[EpisodeRows]],
    ) -> Found:
        """The same with its features looked at."""
        from vlascope_sae.recipes.classes import generality

        per, folder = judged.per, Path(judged.folder)
        training, held = rows
        kinds = generality(sae, context.store(), str(point), where, per, folder, self.fit)
        return Found(
            **dict(judged),
            training_rows=sum(len(e.of(per)) for e in training),
            trained=len(training),
            held_out=len(held),
            general=kinds,
            read_per_layer=context.adapter.info.pathway(point.pathway).read_per_layer,
        )


def _enough(records: Mapping[str, EpisodeRecord]) -> None:
    if len(records) < FEWEST_EPISODES:
        raise UnusableActivations(
            f"autoencoders are judged on episodes they have not seen: {FEWEST_EPISODES} episodes "
            f"at least, and {len(records)} were finished; add seeds or tasks to the study"
        )


def _result(outcome: Outcome, edits: dict[str, tuple[dict[str, Any], ...]]) -> AnalysisResult:
    from vlascope_sae.recipes.tables import offline_blocks

    return AnalysisResult(
        edits=edits,
        blocks=offline_blocks(outcome),
        unresolved=tuple(f"{a.pathway}: {a.why}." for a in outcome.absent),
        data=outcome.model_dump(mode="json"),
    )
