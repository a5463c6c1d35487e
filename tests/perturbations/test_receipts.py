"""Perturbations in rollouts: what an episode's record says of them, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from vlascope.errors import EditMisfired, UnknownName
from vlascope.loading import load
from vlascope.perturbations import Blur, Brightness, Noise, Occlusion
from vlascope.records import EpisodePlan, EpisodeRecord
from vlascope.rollout import BenchmarkSpec, open_environments, run_episodes
from vlascope.rollout.arrays import EpisodeArrays
from vlascope.rollout.pool import EnvPool

TOY = BenchmarkSpec(name="toy")


@pytest.fixture(scope="module")
def policy():
    return load("toy", "bundled")


@pytest.fixture(scope="module", autouse=True)
def environments(tmp_path_factory, perturbing_functions):
    """Started once for all these tests."""
    with open_environments(TOY, tmp_path_factory.mktemp("logs"), workers=1) as opened:
        _SHARED["environments"] = opened
        yield
        _SHARED.clear()


_SHARED: dict[str, EnvPool] = {}


def plans(n: int = 2, **fields) -> list[EpisodePlan]:
    return [
        EpisodePlan(**{"arm": "a", "task": "unique/red", "seed": s, **fields}) for s in range(n)
    ]


def run(policy, wanted, folder, **options) -> list[EpisodeRecord]:
    return run_episodes(policy, TOY, wanted, folder, progress=False, **_SHARED, **options)


def test_a_record_says_what_was_done_and_that_the_policy_was_given_it(policy, tmp_path):
    data = ({"kind": "brightness", "severity": 0.5}, {"kind": "noise", "severity": 0.1})
    for record in run(policy, plans(perturbation=data), tmp_path):
        assert record.perturbed is not None
        assert record.perturbed.looks == -(-record.steps // 2)
        assert record.perturbed.delivered == record.perturbed.looks == record.perturbed.altered
        dark, noisy = record.perturbed.perturbations
        assert (dark.kind, dark.pictures, dark.changed) == (
            "brightness",
            dark.pictures,
            dark.pictures,
        )
        assert 10 < dark.change < 20
        assert 2 < noisy.change < 7
        assert record.plan.perturbation[0]["direction"] == "darker"
        assert EpisodeRecord.model_validate_json(record.model_dump_json()) == record


def test_unperturbed_episodes_have_no_such_receipt(policy, tmp_path):
    (record,) = run(policy, plans(1), tmp_path)
    assert record.perturbed is None


def test_the_same_seed_gives_the_same_noise_and_the_same_episode(policy, tmp_path):
    first, again = (
        EpisodeArrays.load(tmp_path / name, run(policy, plans(1), tmp_path / name,
                           perturb=Noise(severity=0.6), batch=1)[0]).actions
        for name in ("a", "b")
    )  # fmt: skip
    assert np.array_equal(first, again)


def test_content_decides_the_digest_and_not_how_it_is_written(policy, tmp_path):
    def digest(**fields):
        perturb = fields.pop("perturb", None)
        return run(policy, plans(1, **fields), tmp_path, perturb=perturb)[0].digest

    written = digest(perturbation=({"kind": "blur"},))
    assert written == digest(perturbation=({"kind": "blur", "severity": 1.0},))
    assert written != digest(perturbation=({"kind": "blur", "severity": 0.9},))
    assert written != digest()
    assert len((tmp_path / "episodes.jsonl").read_text().splitlines()) == 3


@pytest.mark.parametrize(
    "perturb",
    [Blur(), [Blur()], {"kind": "blur"}, [{"kind": "blur"}], "perturbing_functions:darken"],
)
def test_a_run_may_be_perturbed_as_a_whole(policy, tmp_path, perturb):
    (record,) = run(policy, plans(1), tmp_path, perturb=perturb)
    assert record.perturbed.altered == record.perturbed.looks > 0


def test_a_function_itself_leaves_a_receipt(policy, tmp_path):
    from perturbing_functions import darken

    (record,) = run(policy, plans(1), tmp_path, perturb=darken)
    assert record.perturbed.perturbations[0].kind == "given"
    assert record.perturbed.delivered > 0


def test_a_perturbation_that_changes_no_pixel_fails_like_an_edit_that_misfired(policy, tmp_path):
    with pytest.raises(EditMisfired, match="blur changed no value"):
        run(policy, plans(), tmp_path, perturb=Blur(severity=0))
    assert not (tmp_path / "episodes.jsonl").exists()


def test_a_perturbation_that_is_never_due_fails_at_the_end_and_again_when_resumed(policy, tmp_path):
    for _ in range(2):
        with pytest.raises(EditMisfired, match="0 pictures were due"):
            run(policy, plans(), tmp_path, perturb=Blur(steps=(900, 901)))


def test_of_several_only_the_one_without_effect_is_named(policy, tmp_path):
    with pytest.raises(EditMisfired, match="brightness changed no value"):
        run(policy, plans(), tmp_path, perturb=[Noise(severity=0.1), Brightness(severity=0)])


def test_a_camera_that_the_policy_does_not_read_is_refused_before_any_episode(policy, tmp_path):
    with pytest.raises(UnknownName, match="'top'"):
        run(policy, plans(), tmp_path, perturb=Blur(cameras="tpo"))
    assert not (tmp_path / "episodes.jsonl").exists()


def test_pictures_that_are_exchanged_on_the_way_are_noticed(policy, tmp_path, monkeypatch):
    from vlascope.rollout.flight import Flight

    see = Flight.see

    def cheating(self, step, observation, sent=None):
        observation.images["top"][:] = 0
        see(self, step, observation, sent)

    monkeypatch.setattr(Flight, "see", cheating)
    with pytest.raises(EditMisfired, match="0 of"):
        run(policy, plans(1), tmp_path, perturb=Noise())


def test_covering_the_goal_blinds_the_toy_policy_and_covering_elsewhere_does_not(policy, tmp_path):
    from vlascope_benchmarks.toy.tasks import layout

    for seed in range(3):
        goals, _ = layout("unique/red", seed)
        column, row = int((goals["red"][0] + 1) * 2), int((1 - goals["red"][1]) * 2)
        for cell, succeeds in (((row, column), False), ((3 - row, 3 - column), True)):
            arm = f"{'away' if succeeds else 'goal'}_{seed}"
            plan = EpisodePlan(arm=arm, task="unique/red", seed=seed)
            (record,) = run(policy, [plan], tmp_path, perturb=Occlusion(cell=cell))
            assert record.success is succeeds
