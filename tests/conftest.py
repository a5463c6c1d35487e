"""Shared by every test: one thread for torch, patience on slow machines, and the toy policy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

from vlascope.adapter import VLAAdapter
from vlascope.study.quantity import Quantity

torch.set_num_threads(1)
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.fixture
def toy() -> VLAAdapter:
    """The toy policy with random weights added everywhere."""
    from vlascope_adapters.toy.adapter import ToyAdapter

    return ToyAdapter.tiny()


@pytest.fixture(scope="session")
def read_quantities() -> Callable[..., dict[tuple[str, str, str, str, float | None], Quantity]]:
    """Reads the quantities of a finished study's recipe, by key and place; no two share both."""
    from vlascope.study.analysing import read_results
    from vlascope.study.design import design
    from vlascope.study.expansion import recipe_of
    from vlascope.study.measuring import Measuring
    from vlascope.study.recipe import Reading
    from vlascope.study.run_directory import read_run

    def read(
        folder: Path, recipe: str, policy: str = "toy"
    ) -> dict[tuple[str, str, str, str, float | None], Quantity]:
        manifest, episodes, _ = read_run(folder)
        results = read_results(folder / policy, manifest.study)
        reading = Reading(recipe, policy, Measuring(design(manifest.study), episodes), results)
        found = recipe_of(manifest.study, recipe).quantities(reading)
        by_place = {(q.key, q.pathway, q.depth, q.site, q.at): q for q in found}
        assert len(by_place) == len(found)
        return by_place

    return read
