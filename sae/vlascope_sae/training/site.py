"""One place of a policy, and every autoencoder that learns from its rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

from vlascope.errors import IncompatibleError
from vlascope_sae.architectures import build
from vlascope_sae.autoencoder import SAEConfig
from vlascope_sae.training.group import Group
from vlascope_sae.training.prefetching import prefetched
from vlascope_sae.training.source import Batch, Source, median_norm, without_outliers
from vlascope_sae.training.spec import TrainingSpec
from vlascope_sae.training.trainee import Trainee
from vlascope_sae.training.validating import Fit, fit_of

__all__ = ["Site"]

_VALIDATION_ROWS = 8192
"""Rows per batch of a validation: no result depends on it."""


@dataclass(eq=False)
class Site:
    """Batches of one source, given to each of its autoencoders.

    Attributes:
        source: where rows come from.
        trainees: who learns from them.
        limit: norm above which rows are dropped; None for none.
        drawn: rows drawn so far, with those dropped.
        dropped: rows dropped so far.
    """

    source: Source
    trainees: Sequence[Trainee]
    spec: TrainingSpec
    device: torch.device
    group: Group
    limit: float | None = None
    drawn: int = 0
    dropped: int = 0
    _batches: Iterator[Batch] | None = field(default=None, repr=False)

    @classmethod
    def of(
        cls,
        source: Source,
        saes: Mapping[str, SAEConfig],
        spec: TrainingSpec,
        device: torch.device,
        group: Group,
        own: Mapping[str, TrainingSpec] | None = None,
    ) -> Site:
        """Autoencoders as their configurations say, named `source/name`; `own` specs by name."""
        trainees = []
        for name, config in saes.items():
            refuse_misfit(source, name, config)
            sae = build(config).to(device)
            if sae.takes_pairs != source.pairs:
                wanted, given = ("pairs", "rows") if sae.takes_pairs else ("rows", "pairs")
                raise IncompatibleError(
                    f"{config.architecture} learns from {wanted}, {source.name} gives {given}: "
                    f"make the source with pairs={sae.takes_pairs}"
                )
            how = (own or {}).get(name, spec)
            trainees.append(Trainee(f"{source.name}/{name}", sae, how, group))
        return cls(source, trainees, spec, device, group)

    @property
    def active(self) -> list[Trainee]:
        """Those that have not stopped."""
        return [t for t in self.trainees if not t.stopped]

    def initialise(self) -> None:
        """Fit the outlier limit, and every autoencoder's normalisation and bias, to a sample."""
        sample = self.source.sample(self.spec.sample_rows)
        median = median_norm(sample.x, self.source.name)
        if self.source.outliers is not None:
            self.limit = self.source.outliers * median
        kept = without_outliers(sample, self.limit, self.source.name)
        x = kept.x.to(self.device)
        target = None if kept.target is None else kept.target.to(self.device)
        for trainee in self.trainees:
            trainee.sae.initialise(x, target)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Batches are prepared in the background from where reading stands."""
        with closing(prefetched(self._prepared(), ahead=2)) as batches:
            self._batches = batches
            yield
        self._batches = None

    def step(self, progress: float) -> None:
        """One batch for every autoencoder that still learns; nothing where none does."""
        active = self.active
        if not active:
            return
        assert self._batches is not None
        batch = next(self._batches)
        self.drawn += batch.drawn
        self.dropped += batch.dropped
        whole = len(batch.x)
        if whole < self.group.size:
            return
        own = self.group.share(batch)
        x = own.x.to(self.device, non_blocking=True)
        target = None if own.target is None else own.target.to(self.device, non_blocking=True)
        for trainee in active:
            trainee.step(Batch(x, target, own.drawn, own.dropped), whole=whole, progress=progress)

    def validate(self, trainee: Trainee, *, limit: int | None = None) -> Fit:
        """How well held-out rows are rebuilt, at most `limit` of them."""
        rows = self.source.validation(_VALIDATION_ROWS, limit=limit)
        name = f"{self.source.name} (validation)"
        batches = (without_outliers(taken, self.limit, name) for taken in rows)
        return fit_of(trainee.sae, batches, name)

    def state_dict(self) -> dict[str, Any]:
        """Where reading stands, and the state of every autoencoder."""
        return {
            "limit": self.limit,
            "drawn": self.drawn,
            "dropped": self.dropped,
            "trainees": {t.name: t.state_dict() for t in self.trainees},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self.limit, self.drawn = state["limit"], state["drawn"]
        self.dropped = state["dropped"]
        for trainee in self.trainees:
            trainee.load_state_dict(state["trainees"][trainee.name])

    def _prepared(self) -> Iterator[Batch]:
        pin = self.device.type == "cuda"
        for taken in self.source.stream(self.spec.batch_size, drawn=self.drawn):
            batch = without_outliers(taken, self.limit, self.source.name)
            if pin and batch.x.device.type == "cpu":
                target = None if batch.target is None else batch.target.pin_memory()
                batch = Batch(batch.x.pin_memory(), target, batch.drawn, batch.dropped)
            yield batch


def refuse_misfit(source: Source, name: str, config: SAEConfig) -> None:
    """Check that an autoencoder's widths are those of the rows.

    Raises:
        IncompatibleError: they are not.
    """
    if config.d_in != source.width or config.d_out != source.target_width:
        raise IncompatibleError(
            f"SAE {name!r} reads rows {config.d_in} wide and predicts "
            f"{config.d_out or 'the same'}; {source.name} gives rows {source.width} wide to "
            f"predict {source.target_width or 'the same'}: set d_in and d_out to these"
        )
