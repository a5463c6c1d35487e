"""Training: every autoencoder of every site in one pass over the data, resumable at any time."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from vlascope.errors import IncompatibleError
from vlascope.rollout.lock import exclusive
from vlascope.store.durable import write_atomically
from vlascope_sae.autoencoder import SAEConfig, SparseAutoencoder
from vlascope_sae.files import Provenance, save_sae
from vlascope_sae.training.checkpoint import read_checkpoint, write_checkpoint
from vlascope_sae.training.group import Group
from vlascope_sae.training.progress import Meter, meter
from vlascope_sae.training.site import Site
from vlascope_sae.training.source import Source
from vlascope_sae.training.spec import OPTIMISER, TrainingSpec
from vlascope_sae.training.tracking import JsonLines, Tracker
from vlascope_sae.training.validating import Fit

__all__ = ["Trainer", "TrainingResult", "train"]

_FREE = {"checkpoint_every", "log_every", "device"}
"""Settings that may change when a training is resumed: no weight depends on them."""


@dataclass(frozen=True, eq=False)
class TrainingResult:
    """One trained autoencoder.

    Attributes:
        sae: the weights; with early stopping, the best ones.
        fit: on every held-out row; None where nothing is held out.
        dropped: training rows left out for their norm.
        folder: where it was saved; None where no folder was given.
    """

    sae: SparseAutoencoder
    fit: Fit | None
    dropped: int
    folder: Path | None


class Trainer:
    """Drives sites through a training and keeps what is needed to go on after an interruption.

    Args:
        sites: each source, and the autoencoders that learn from it by name.
        spec: how.
        folder: for checkpoints, the log and the results; None to keep nothing.
        tracker: told of measurements; by default `FOLDER/metrics.jsonl`.
        own: how some autoencoders, by name, are trained otherwise than `spec` says: their
            optimiser's settings alone may differ.
        provenance: of what is saved, by source name.
        identity: whatever else must be the same for a checkpoint to be gone on from.
        show: whether to show progress.
    """

    def __init__(
        self,
        sites: Sequence[tuple[Source, Mapping[str, SAEConfig]]],
        spec: TrainingSpec,
        folder: Path | None = None,
        *,
        tracker: Tracker | None = None,
        own: Mapping[str, TrainingSpec] | None = None,
        provenance: Mapping[str, Provenance] | None = None,
        identity: Mapping[str, Any] | None = None,
        show: bool = False,
    ) -> None:
        _refuse_repeated(sites)
        self.spec, self.folder, self.show = spec, folder, show
        self.device = _device(spec.device)
        self.group = Group.joined(self.device)
        self.sites = [Site.of(s, saes, spec, self.device, self.group, own) for s, saes in sites]
        self.step = 0
        self.tracker = tracker
        if tracker is None and folder is not None:
            self.tracker = JsonLines(folder / "metrics.jsonl")
        self._provenance = provenance or {}
        self._identity = _identity(sites, spec, own or {}, identity)

    def run(self, *, until: int | None = None) -> dict[str, TrainingResult]:
        """Train to the end, from the last checkpoint if there is one, and save the results.

        Args:
            until: stop after this step with a checkpoint, as an interruption would.

        Returns:
            By name (`source/name`); nothing where `until` came first.

        Raises:
            RunLocked: another process trains into the folder.
            IncompatibleError: the folder holds another training.
            UnusableActivations: rows that are not finite, or constant.
            DiskFull: no space; the last checkpoint is intact.
        """
        locked = self.folder is not None and self.group.leads
        with exclusive(self.folder) if locked and self.folder else nullcontext():
            self._begin()
            last = min(self.spec.steps, until or self.spec.steps)
            with _products(self.spec), self._meter() as shown, ExitStack() as stack:
                for site in self.sites:
                    stack.enter_context(site.reading())
                if self.tracker is not None and self.group.leads:
                    stack.callback(self.tracker.close)
                while self.step < last and any(site.active for site in self.sites):
                    self._advance(shown)
            self._keep()
            if self.step < self.spec.steps and any(site.active for site in self.sites):
                return {}
            return self._finish()

    def _begin(self) -> None:
        state = None
        if self.folder is not None:
            state = read_checkpoint(self.folder, self._identity, self.device)
        if state is None:
            torch.manual_seed(self.spec.seed)
            for site in self.sites:
                site.initialise()
        else:
            self.step = state["step"]
            for site in self.sites:
                site.load_state_dict(state["sites"][site.source.name])
        if self.tracker is not None and self.group.leads:
            self.tracker.resume(self._samples)
        self.group.wait()

    def _advance(self, shown: Meter) -> None:
        for site in self.sites:
            site.step(self.step / self.spec.steps)
        self.step += 1
        note = ""
        if self.spec.due(self.spec.log_every, self.step):
            note = self._log()
        if self.spec.due(self.spec.validate_every, self.step):
            note = self._validate() or note
        if self.spec.due(self.spec.checkpoint_every, self.step):
            self._keep()
        shown.advance(self._samples, note)

    def _log(self) -> str:
        losses = []
        for site in self.sites:
            for trainee in site.trainees:
                numbers = trainee.means()
                if numbers:
                    losses.append(numbers["loss"])
                    self._track(trainee.name, {**numbers, "dropped": float(site.dropped)})
        return f"loss {sum(losses) / len(losses):.4f}" if losses else ""

    def _validate(self) -> str:
        found = []
        for site in self.sites:
            for trainee in site.active if site.source.held_out_rows else ():
                fit = site.validate(trainee, limit=self.spec.validation_rows)
                trainee.judge(fit.fvu)
                self._track(trainee.name, {f"validation_{n}": v for n, v in fit.numbers.items()})
                found.append(fit.fvu)
        return f"FVU {sum(found) / len(found):.4f}" if found else ""

    def _keep(self) -> None:
        if self.folder is None or not self.group.leads:
            return
        sites = {site.source.name: site.state_dict() for site in self.sites}
        write_checkpoint(self.folder, self._identity, {"step": self.step, "sites": sites})

    def _finish(self) -> dict[str, TrainingResult]:
        results = {}
        for site in self.sites:
            for trainee in site.trainees:
                if self.spec.patience is not None and not trainee.stopped:
                    if site.source.held_out_rows:
                        trainee.judge(site.validate(trainee, limit=self.spec.validation_rows).fvu)
                    trainee.finish()
                fit = site.validate(trainee) if site.source.held_out_rows else None
                folder = None if self.folder is None else self.folder / trainee.name
                if folder is not None and self.group.leads:
                    about = self._provenance.get(site.source.name)
                    save_sae(folder, trainee.sae, about, replace=True)
                results[trainee.name] = TrainingResult(trainee.sae, fit, site.dropped, folder)
        self._summarise(results)
        return results

    def _summarise(self, results: Mapping[str, TrainingResult]) -> None:
        if self.folder is None or not self.group.leads:
            return
        how = {trainee.name: trainee.spec for site in self.sites for trainee in site.trainees}
        found = {
            name: {
                "fit": None if r.fit is None else asdict(r.fit),
                "training_rows_dropped": r.dropped,
                "samples": self._samples,
                "optimiser": how[name].model_dump(mode="json", include={*OPTIMISER}),
            }
            for name, r in results.items()
        }
        write_atomically(self.folder / "results.json", json.dumps(found, indent=1).encode())

    def _track(self, name: str, numbers: Mapping[str, float]) -> None:
        if self.tracker is not None and self.group.leads:
            self.tracker.log(self._samples, name, numbers)

    @property
    def _samples(self) -> int:
        return self.step * self.spec.batch_size

    def _meter(self) -> Meter:
        total = self.spec.steps * self.spec.batch_size
        show = self.show and self.group.leads
        return meter("training", total=total, done=self._samples, show=show)


def train(
    source: Source,
    saes: Mapping[str, SAEConfig],
    spec: TrainingSpec,
    folder: str | Path | None = None,
    *,
    show: bool = False,
) -> dict[str, TrainingResult]:
    """Train autoencoders on the rows of one source, in one pass; by their names.

    Run it again with the same arguments to go on after an interruption.
    """
    into = None if folder is None else Path(folder)
    results = Trainer([(source, saes)], spec, into, show=show).run()
    return {name.removeprefix(f"{source.name}/"): result for name, result in results.items()}


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda":  # each of several processes has a GPU of its own
        name = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    return torch.device(name)


def _identity(
    sites: Sequence[tuple[Source, Mapping[str, SAEConfig]]],
    spec: TrainingSpec,
    own: Mapping[str, TrainingSpec],
    more: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """What a checkpoint must share with the training that goes on from it; plain values."""
    found = spec.model_dump(mode="json", exclude=_FREE)
    for source, saes in sites:
        for name, config in saes.items():
            found[f"{source.name}/{name}"] = config.model_dump(mode="json")
    for name, how in own.items():
        if how != spec:
            found[f"training of {name}"] = how.model_dump(mode="json", include={*OPTIMISER})
    return {**found, **(more or {})}


def _refuse_repeated(sites: Sequence[tuple[Source, Mapping[str, SAEConfig]]]) -> None:
    names = [source.name for source, _ in sites]
    if len(set(names)) < len(names):
        raise IncompatibleError(f"sources need names of their own; got {names}")
    if not any(saes for _, saes in sites):
        raise IncompatibleError("there is nothing to train: name at least one SAE")


@contextmanager
def _products(spec: TrainingSpec) -> Iterator[None]:
    """Matrix products in the precision asked for; put back afterwards."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest" if spec.precision == "float32" else "high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
