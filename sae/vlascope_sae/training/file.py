"""A training as one YAML file: which rows, which autoencoders, how, and where to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from vlascope import plugins
from vlascope.errors import StudyFileError, VlascopeError, unknown_name
from vlascope.hooks import HookPoint, match_points
from vlascope.store import ActivationStore
from vlascope.study.located_yaml import Located, read_located
from vlascope_sae import presets
from vlascope_sae.architectures import sae_class
from vlascope_sae.autoencoder import SAEConfig
from vlascope_sae.provenance import Provenance
from vlascope_sae.training.dataset import DatasetSpec
from vlascope_sae.training.published import batch_as_published, preset_of, settings_of
from vlascope_sae.training.spec import TrainingSpec
from vlascope_sae.training.store_source import StoreSource
from vlascope_sae.training.tracking import Tracker, Trackers, open_tracker
from vlascope_sae.training.trainer import Trainer

__all__ = ["TrainingFile", "TrainingPlan", "load_training"]


class TrainingFile(BaseModel):
    """What a training file says.

    Attributes:
        store: the activation store.
        out: folder of the results, one autoencoder in `OUT/POINT/NAME` each.
        points: globs of hook points; every autoencoder is trained at each of them.
        target: the hook point to predict instead of the one read (transcoders).
        rows: which rows, and which episodes are held out.
        saes: by name, an architecture (or `preset`) with its fields; `expansion` may stand for
            `d_sae`, and widths come from the store. `training` in it holds the settings of its
            optimiser that differ from everyone's; a preset brings the published ones.
        training: how. What is written here counts for presets too.
        tracker: where measurements go: a registered kind, or `{kind: ..., ...}` with its options,
            or several of them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    store: Path
    out: Path
    points: tuple[str, ...] = Field(min_length=1)
    target: str | None = None
    rows: DatasetSpec = DatasetSpec()
    saes: dict[str, dict[str, Any]] = Field(min_length=1)
    training: TrainingSpec
    tracker: tuple[dict[str, Any], ...] = ({"kind": "jsonl"},)

    @field_validator("points", mode="before")
    @classmethod
    def _one_is_many(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @field_validator("tracker", mode="before")
    @classmethod
    def _a_kind_is_enough(cls, value: object) -> object:
        many = value if isinstance(value, list | tuple) else [value]
        return [{"kind": one} if isinstance(one, str) else one for one in many]

    @field_validator("tracker")
    @classmethod
    def _known_kinds(cls, value: tuple[dict[str, Any], ...]) -> tuple[dict[str, Any], ...]:
        for one in value:
            if "kind" not in one:
                raise ValueError(f"a tracker needs a `kind`; got {one}")
            if one["kind"] not in plugins.trackers():
                raise ValueError(str(unknown_name("tracker", one["kind"], plugins.trackers())))
        return value

    @model_validator(mode="after")
    def _say_what_they_are(self) -> TrainingFile:
        for name, fields in self.saes.items():
            if ("architecture" in fields) == ("preset" in fields):
                raise ValueError(f"SAE {name!r} needs an architecture or a preset, one of the two")
        return self


@dataclass(frozen=True, eq=False)
class TrainingPlan:
    """A training file that validates, and where its parts were written."""

    file: TrainingFile
    located: Located

    def sites(self) -> list[tuple[StoreSource, dict[str, SAEConfig]]]:
        """The sources and what is trained on each.

        Raises:
            StudyFileError: an autoencoder cannot be as it is described; points at the line.
            FileMissing: there is no store.
            UnknownName: the store has no such hook point, or there is no such architecture.
        """
        file = self.file
        store = ActivationStore.open(file.store)
        points = match_points(file.points, store.points, f"the store {store.path}")
        found = []
        for point in points:
            for pairs in (False, True):
                names = [n for n in file.saes if self._architecture(n).takes_pairs == pairs]
                if names:
                    source = source_of(store, point, file, pairs=pairs)
                    found.append((source, {n: self._config(n, source) for n in names}))
        return found

    def trainer(self, *, show: bool = False) -> Trainer:
        """Ready to run."""
        sites, how = self.sites(), self.training()
        trainer = Trainer(
            sites,
            how,
            self.file.out,
            own={name: self.training_of(name) for name in self.file.saes},
            provenance={source.name: provenance_of(source, self.file) for source, _ in sites},
            identity={"rows": self.file.rows.model_dump(mode="json")},
            show=show,
        )
        if trainer.group.leads:  # nobody else writes
            trainer.tracker = self.tracker()
        return trainer

    def tracker(self) -> Tracker:
        """Every tracker of the file, opened.

        Raises:
            StudyFileError: one of them takes no such options.
        """
        opened = []
        for one in self.file.tracker:
            options = {name: value for name, value in one.items() if name != "kind"}
            try:
                opened.append(open_tracker(one["kind"], self.file.out, options))
            except ValueError as error:
                raise StudyFileError(f"{self.located.where(('tracker',))}: {error}") from None
        return opened[0] if len(opened) == 1 else Trackers(opened)

    def training(self) -> TrainingSpec:
        """How everything is trained; where the file is silent on the batch, as presets have it."""
        return batch_as_published(self.file.training, self.file.saes.values())

    def training_of(self, name: str) -> TrainingSpec:
        """How one autoencoder is trained; see `settings_of`.

        Raises:
            StudyFileError: its `training` is wrong; points at the line.
        """
        at = ("saes", name, "training")
        try:
            return settings_of(self.file.saes[name], self.training(), self.file.training)
        except ValidationError as error:
            raise _refusal(self.located, error, at) from None
        except ValueError as error:
            raise StudyFileError(f"{self.located.where(at)}: {error}") from None

    def _architecture(self, name: str) -> Any:
        return sae_class(str(self.file.saes[name].get("architecture", "topk")))

    def _config(self, name: str, source: StoreSource) -> SAEConfig:
        fields = {k: v for k, v in self.file.saes[name].items() if k != "training"}
        at = ("saes", name)
        try:
            if "preset" in fields:
                return _preset(fields, source, self.training())
            expansion = fields.pop("expansion", None)
            if expansion is not None:
                fields.setdefault("d_sae", round(float(expansion) * source.width))
            widths = {"d_in": source.width, "d_out": source.target_width}
            config: SAEConfig = self._architecture(name).config_class(**{**widths, **fields})
        except ValidationError as error:
            raise _refusal(self.located, error, at) from None
        except (TypeError, ValueError) as error:
            if isinstance(error, VlascopeError):
                raise
            raise StudyFileError(f"{self.located.where(at)}: SAE {name!r}: {error}") from None
        return config


def load_training(path: str | Path, overrides: Sequence[str] = ()) -> TrainingPlan:
    """Read, override and check a training file; the store is not opened.

    Args:
        path: a YAML file.
        overrides: `dotted.path=value`, the value read as YAML (`training.lr=1e-4`).

    Raises:
        StudyFileError: every problem found, each with `file:line:column`.
    """
    located = read_located(Path(path))
    for assignment in overrides:
        located.override(assignment)
    try:
        return TrainingPlan(TrainingFile.model_validate(located.data), located)
    except ValidationError as error:
        raise _refusal(located, error) from None


def source_of(
    store: ActivationStore, point: HookPoint, file: TrainingFile, *, pairs: bool = False
) -> StoreSource:
    """The rows of one hook point as the file wants them."""
    return StoreSource(
        store,
        point,
        file.rows,
        target=file.target,
        pairs=pairs,
        seed=file.training.seed,
        buffer_rows=file.training.buffer_rows,
    )


def provenance_of(source: StoreSource, file: TrainingFile) -> Provenance:
    """What is known of where the rows come from."""
    recorded, rows = source.store.provenance, file.rows
    return Provenance(
        adapter=recorded.adapter,
        checkpoint=recorded.checkpoint,
        checkpoint_hash=recorded.checkpoint_hash,
        hook_point=str(source.point),
        output_point=None if source.target is None else str(source.target),
        spans=rows.spans or recorded.spec.tokens,
        pool=recorded.spec.pool if rows.pool == "none" else rows.pool,
        calls=rows.calls or recorded.spec.calls,
        benchmark=recorded.benchmark,
        samples=file.training.steps * file.training.batch_size,
        training={
            **file.model_dump(mode="json", exclude={"saes"}),
            "store": str(file.store.resolve()),
        },
    )


def _preset(fields: Mapping[str, Any], source: StoreSource, how: TrainingSpec) -> SAEConfig:
    if fields["preset"] not in presets.__all__:
        raise unknown_name("preset", str(fields["preset"]), presets.__all__)
    if source.target is not None:
        raise ValueError("presets are autoencoders; name an architecture to predict a target")
    return preset_of(fields, source.width, how).sae


def _refusal(
    located: Located, error: ValidationError, at: tuple[str | int, ...] = ()
) -> StudyFileError:
    lines = []
    for problem in error.errors():
        where = (*at, *problem["loc"])
        message = problem["msg"].removeprefix("Value error, ")
        given = (
            "" if problem["type"] in ("missing", "value_error") else f"; got {problem['input']!r}"
        )
        lines.append(f"{located.where(where)}: {'.'.join(map(str, where))}: {message}{given}")
    return StudyFileError("\n".join(lines))
