"""What an evaluation leaves behind: one JSON file each, of one schema, its `kind` saying which."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from vlascope import __version__
from vlascope.errors import CorruptFile, FileMissing
from vlascope.statistics import Comparison, Estimate
from vlascope.store.durable import write_atomically

__all__ = [
    "SCHEMA",
    "ActionFidelity",
    "Decile",
    "DecoderRedundancy",
    "Density",
    "EpisodeFidelity",
    "Evaluation",
    "HookedArm",
    "HookedComparison",
    "HookedSuccess",
    "ReconstructionQuality",
    "SeedStability",
    "read_evaluation",
    "write_evaluation",
]

SCHEMA: Final = "vlascope.sae-evaluation/1"


class Record(BaseModel):
    """Frozen; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class Evaluated(Record):
    """What every evaluation says.

    Attributes:
        sae: which autoencoder, as the caller names it (its folder).
        code_version: of vlascope.
    """

    schema_version: Literal["vlascope.sae-evaluation/1"] = SCHEMA
    sae: str
    code_version: str = __version__


class Density(Record):
    """How many features fire how often.

    Attributes:
        edges: log10 of the firing rate, ascending; the last edge is 0 (fires in every row).
        counts: features between neighbouring edges; rates below the first edge are in the first.
        never: features that never fired; they are in no bin.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    never: int


class Decile(Record):
    """A tenth of the rows by norm.

    Attributes:
        norm_low, norm_high: the norms it spans, to the width of a bin (2.2%).
        fvu: sum |x - x_hat|^2 / sum |x - mean|^2 over its rows, the mean being that of all rows.
        relative_error: sqrt(sum |x - x_hat|^2 / sum |x|^2) over its rows.
        l0: mean number of features that fired.
    """

    norm_low: float
    norm_high: float
    rows: int
    fvu: float
    relative_error: float
    l0: float


class ReconstructionQuality(Evaluated):
    """How well rows are described, and by how many features.

    Attributes:
        rows, d_in, d_sae: how many rows, of what width, and how many features there are.
        l0: mean number of features that fire per row.
        fvu: fraction of variance unexplained over all rows (0 perfect, 1 no better than the mean).
        dead: share of features that fired in no row; with few rows, rare ones are among them.
        density: histogram of firing rates.
        deciles: the same by norm, smallest norms first; fewer where many norms are alike.
    """

    kind: Literal["reconstruction"] = "reconstruction"
    rows: int
    d_in: int
    d_sae: int
    l0: float
    fvu: float
    dead: float
    density: Density
    deciles: tuple[Decile, ...]


class DecoderRedundancy(Evaluated):
    """How alike the decoder's directions are: each one's largest cosine with another.

    Attributes:
        features: how many directions.
        mean, median, largest: of that largest cosine.
        share_above: share of directions with one above each threshold.
    """

    kind: Literal["decoder_redundancy"] = "decoder_redundancy"
    features: int
    mean: float
    median: float
    largest: float
    share_above: dict[str, float]


class SeedStability(Evaluated):
    """How many directions another training run found too, matched one to one.

    Attributes:
        other: the autoencoder compared with.
        matched: pairs; as many as the smaller of the two has directions.
        mean, median: of the pairs' cosines.
        share_above: share of pairs above each threshold.
    """

    kind: Literal["seed_stability"] = "seed_stability"
    other: str
    matched: int
    mean: float
    median: float
    share_above: dict[str, float]


class EpisodeFidelity(Record):
    """One episode: how far the actions moved, summed over its situations.

    Attributes:
        moved: by the splice; `moved_by_zero`: by the edit that counts as zero.
        fidelity: 1 - moved / moved_by_zero; None where not even the latter moved the actions.
    """

    episode: str
    task: str
    situations: int
    moved: float
    moved_by_zero: float
    fidelity: float | None


class ActionFidelity(Evaluated):
    """Whether the policy acts the same when a splice replaces the activation.

    1: the actions are those of the unhooked policy. 0: no better than the zero point (usually the
    mean activation). Below 0: worse than that.

    Attributes:
        policy, checkpoint_hash: who acted.
        splice, zero: the two edits, in words; both act at `at` on `tokens` (None: all).
        fidelity: mean over episodes of 1 - sum |da_splice| / sum |da_zero|.
        moved, moved_by_zero: mean |da| per chunk, every action dimension in units of half its
            declared range (1 where it has none).
        situations: how many chunks were predicted.
        dx_ratio: mean ||dx|| / ||x|| of the splice, from its receipt.
        episodes: one by one.
    """

    kind: Literal["action_fidelity"] = "action_fidelity"
    policy: str
    checkpoint_hash: str
    at: tuple[str, ...]
    tokens: tuple[str, ...] | None
    splice: str
    zero: str
    fidelity: Estimate
    moved: Estimate
    moved_by_zero: Estimate
    situations: int
    dx_ratio: float | None
    episodes: tuple[EpisodeFidelity, ...]


class HookedComparison(Record):
    """A spliced arm against another arm on the same tasks and seeds."""

    role: str
    arm: str
    success: Estimate
    comparison: Comparison


class HookedArm(Record):
    """Success with one splice in place, beside what it is judged against.

    Attributes:
        arm, sae, at: which splice, and where.
        against: the unhooked policy, the hooked one in which nothing changes, and, where it was
            played, a random change of equal norm.
        dx_ratio: mean ||dx|| / ||x|| over its episodes, from their receipts.
    """

    arm: str
    sae: str
    at: tuple[str, ...]
    success: Estimate
    against: tuple[HookedComparison, ...]
    dx_ratio: float | None


class HookedSuccess(Evaluated):
    """Closed-loop success with reconstructions spliced in, paired with the unhooked policy.

    Attributes:
        policy: as the study names it.
        benchmark, tasks, seeds: what was played.
        arms: one per splice.
        failures: arms that did not finish, and why.
    """

    kind: Literal["hooked_success"] = "hooked_success"
    policy: str
    benchmark: str
    tasks: int
    seeds: int
    arms: tuple[HookedArm, ...]
    failures: tuple[str, ...] = ()


Evaluation = (
    ReconstructionQuality | DecoderRedundancy | SeedStability | ActionFidelity | HookedSuccess
)
"""Any evaluation."""

_ANY: TypeAdapter[Evaluation] = TypeAdapter(Annotated[Evaluation, Field(discriminator="kind")])


def write_evaluation(path: str | Path, evaluation: Evaluation) -> Path:
    """Write one evaluation as JSON, whole or not at all."""
    path = Path(path)
    write_atomically(path, evaluation.model_dump_json(indent=1).encode())
    return path


def read_evaluation(path: str | Path) -> Evaluation:
    """Read an evaluation of any kind.

    Raises:
        FileMissing: it is not there.
        CorruptFile: it is none, or of another schema version.
    """
    path = Path(path)
    if not path.exists():
        raise FileMissing(f"there is no evaluation at {path}")
    try:
        return _ANY.validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        raise CorruptFile(
            f"{path} is no {SCHEMA} file ({'.'.join(map(str, first['loc']))}: {first['msg']})"
        ) from error
