"""One injection study, unchanged, on every policy that fits the simulator."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vlascope import load, plugins
from vlascope.report import write_report
from vlascope.study.execution import run_study
from vlascope.study.loading import load_study
from vlascope.study.run_directory import read_run

pytest.importorskip("metaworld")

STUDY = Path(__file__).parent / "mechanics.yaml"
# toy plays a benchmark of its own, and remote serves it
ADAPTERS = sorted(set(plugins.adapters()) - {"toy", "remote"})

pytestmark = [pytest.mark.sim, pytest.mark.slow]


@pytest.mark.parametrize("name", ADAPTERS)
def test_injections_do_what_they_say(name, tmp_path):
    last = load(name).info.pathways[-1].name
    study = load_study(
        STUDY,
        [f"policies.any.adapter={name}", f"arms.other_run.interventions.0.at={last}.*.resid_post"],
    )
    outcome = run_study(study, tmp_path, progress=False)
    assert outcome.ok, outcome.complaints

    _, episodes, _ = read_run(tmp_path)
    actions = {(p.record.plan.arm, p.record.plan.task): p.actions for p in episodes}
    receipts = {p.record.plan.arm: p.record.receipts for p in episodes}
    for task, other in study.pairings["same_scene"].items():
        mine, theirs = actions["baseline", task], actions["baseline", other]
        np.testing.assert_allclose(actions["self", task], mine, atol=1e-4)
        np.testing.assert_allclose(actions["other_run", task], theirs, atol=1e-4)
        np.testing.assert_array_equal(actions["other_run.identity", task], mine)
        # Without language both tasks of a scene are one run, and a direction of no length is none.
        astray = actions["other_run.random_direction", task]
        assert np.array_equal(astray, mine) == np.array_equal(theirs, mine)
    for arm in ("self", "null_restored", "other_run"):
        assert all(receipt.fired and not receipt.mismatches for receipt in receipts[arm])
    write_report(tmp_path)
