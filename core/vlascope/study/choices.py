"""What study and comparison files choose alike: a policy, a benchmark, where to play."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from vlascope.errors import unknown_name
from vlascope.loading import split_policy

__all__ = ["BenchmarkChoice", "ExecutorChoice", "PolicyChoice", "Strict", "one_or_many"]


def one_or_many(value: Any) -> Any:
    """A single mapping as a tuple of one."""
    return (value,) if isinstance(value, Mapping) else value


class Strict(BaseModel):
    """Frozen; unknown keys are refused with near matches."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, data: Any) -> Any:
        if isinstance(data, Mapping):
            for key in data:
                if key not in cls.model_fields:
                    error = unknown_name(f"{cls.__name__} key", str(key), cls.model_fields)
                    details = {"key": str(key), "what": str(error)}
                    raise PydanticCustomError("unknown_key", "{what}", details)
        return data


class PolicyChoice(Strict):
    """Which weights act: a registered adapter, its checkpoint, and where they are computed.

    `NAME: ADAPTER:CHECKPOINT` is short for both; either may be a named checkpoint's.

    Attributes:
        adapter: a registered adapter, or the collection of a named checkpoint.
        checkpoint: a hub id, a folder, a bundled name, or `tiny` (`tiny-SEED`) for random weights.
        options: what else the adapter's `from_pretrained` takes.
    """

    adapter: str
    checkpoint: str
    options: dict[str, Any] = Field(default_factory=dict)
    device: str = "cpu"
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"

    @model_validator(mode="before")
    @classmethod
    def _in_one_word(cls, data: Any) -> Any:
        if isinstance(data, str):
            data = {"adapter": data}
        if isinstance(data, Mapping) and "checkpoint" not in data:
            adapter, checkpoint = split_policy(str(data.get("adapter", "")))
            if checkpoint is not None:
                return {**data, "adapter": adapter, "checkpoint": checkpoint}
        return data


class ExecutorChoice(Strict):
    """Where episodes are played; `executor: ray` is short for `{kind: ray}`.

    Attributes:
        kind: `local`, in processes on this machine; `ray`, by actors on any node of a cluster.
        address: of a running Ray cluster (`auto`, `ray://...`); None starts one on this machine.
        actors: how many hold a copy of the policy, each with `workers` environment processes.
        cpus, gpus: what each actor takes of the cluster, fractions allowed.
        unit: episodes that an actor plays before it hands them over, and loses if it dies.
        driver_device: where the driver holds its own copy; None for the policy's device.
    """

    kind: Literal["local", "ray"] = "local"
    address: str | None = None
    actors: Annotated[int, Field(ge=1)] = 2
    cpus: Annotated[float, Field(ge=0)] = 1.0
    gpus: Annotated[float, Field(ge=0)] = 0.0
    unit: Annotated[int, Field(ge=1, le=50)] = 10
    driver_device: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _kind_alone(cls, data: Any) -> Any:
        return {"kind": data} if isinstance(data, str) else data


class BenchmarkChoice(Strict):
    """A registered benchmark and the options its class is built with."""

    name: str
    options: dict[str, Any] = Field(default_factory=dict)
