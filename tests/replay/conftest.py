"""A short run of the toy, recorded as it was played."""

import pytest

from vlascope.recording import RecordSpec
from vlascope.records import EpisodePlan, PromptSwitch
from vlascope.rollout import BenchmarkSpec, Film, run_episodes
from vlascope_adapters.toy.adapter import ToyAdapter

SPEC = RecordSpec(at=("vlm.*.resid_post", "expert.1.resid_post"))


@pytest.fixture(scope="session")
def spec():
    return SPEC


@pytest.fixture(scope="session")
def played(tmp_path_factory):
    """The folder of a run with two tasks, perturbed pictures, changed prompts and a film."""
    folder = tmp_path_factory.mktemp("replay") / "run"
    plans = [
        EpisodePlan(arm="base", task="shared/red", seed=0),
        EpisodePlan(arm="base", task="unique/green", seed=3),
        EpisodePlan(
            arm="noisy",
            task="shared/red",
            seed=2,
            perturbation=({"kind": "noise", "severity": 0.5},),
            switch=PromptSwitch(step=6, instruction="go to the blue point"),
        ),
        EpisodePlan(arm="told", task="shared/red", seed=1, instruction="go to the green point"),
    ]
    run_episodes(
        ToyAdapter.from_pretrained("bundled"),
        BenchmarkSpec(name="toy", options={"max_steps": 20}),
        plans,
        folder,
        record=SPEC,
        film=Film(frames=4),
        batch=1,
        workers=1,
        envs_per_worker=1,
        progress=False,
    )
    return folder
