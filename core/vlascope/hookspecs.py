"""The hooks a plugin may implement. A plugin's own module must stay cheap to import."""

from __future__ import annotations

from typing import Protocol

import pluggy

__all__ = ["PROJECT", "Register", "hookimpl", "hookspec"]

PROJECT = "vlascope"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class Register(Protocol):
    """Takes a name and an import string, which is resolved only when the name is used."""

    def __call__(self, name: str, target: str, *, summary: str = "") -> None:
        """Register `name` for `"package.module:attribute"`, with one line saying what it is."""


@hookspec
def register_adapters(register: Register) -> None:
    """Name the VLA adapters (subclasses of `VLAAdapter`) this plugin provides."""


@hookspec
def register_checkpoints(register: Register) -> None:
    """Name the trained policies (`vlascope.loading.NamedCheckpoint`), as `COLLECTION:NAME`."""


@hookspec
def register_benchmarks(register: Register) -> None:
    """Name the benchmarks (subclasses of `BenchmarkEnv`) this plugin provides."""


@hookspec
def register_datasets(register: Register) -> None:
    """Name the formats of recorded episodes (subclasses of `vlascope.replay.DatasetFormat`)."""


@hookspec
def register_interventions(register: Register) -> None:
    """Name the interventions (subclasses of `Intervention`) this plugin provides, by `kind`."""


@hookspec
def register_perturbations(register: Register) -> None:
    """Name the perturbations (subclasses of `Perturbation`) this plugin provides, by `kind`."""


@hookspec
def register_saes(register: Register) -> None:
    """Name the sparse autoencoder architectures this plugin provides."""


@hookspec
def register_encoders(register: Register) -> None:
    """Name what opens encoders (`vlascope.encoders.OpenEncoder`) that this plugin provides."""


@hookspec
def register_analyses(register: Register) -> None:
    """Name the analyses (subclasses of `vlascope.study.analysis.Analysis`), by `kind`."""


@hookspec
def register_recipes(register: Register) -> None:
    """Name the study recipes (subclasses of `vlascope.study.recipe.Recipe`), by `kind`."""


@hookspec
def register_trainings(register: Register) -> None:
    """Name what `vlascope zoo` can train from nothing (`vlascope.trainings.Training`)."""


@hookspec
def register_trackers(register: Register) -> None:
    """Name what opens trackers (`vlascope_sae.training.tracking.OpenTracker`), by `kind`."""


@hookspec
def register_commands(register: Register) -> None:
    """Name the typer apps this plugin adds to the `vlascope` command."""
