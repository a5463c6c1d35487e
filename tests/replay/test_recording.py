"""What a policy computes on recorded episodes is what it computed when it played them."""

import json
import sys

import numpy as np
import pytest
import torch

from vlascope import load
from vlascope.cli import main
from vlascope.errors import CapabilityMissing, FileMissing, MisalignedActivations, UnknownName
from vlascope.replay import open_dataset, record_dataset
from vlascope.replay.runs import RunDataset
from vlascope.rollout import read_episodes
from vlascope.rollout.arrays import write_arrays
from vlascope.store import ActivationStore


@pytest.fixture(scope="module")
def policy():
    return load("toy", "bundled")


def live(played):
    return ActivationStore.open(played / "activations")


def assert_equal_stores(one, other):
    assert one.points == other.points
    for point in one.points:
        a, b = one.read(point), other.read(point)
        assert a.episodes == b.episodes
        np.testing.assert_array_equal(a.columns, b.columns)
        assert torch.equal(a.values, b.values)


def test_replayed_actions_give_the_activations_that_were_recorded_live(
    played, spec, policy, tmp_path
):
    with open_dataset(str(played)) as run:
        store = record_dataset(policy, run, tmp_path, spec, batch=1, progress=False)
    assert_equal_stores(store, live(played))
    labels = store.episodes()["told/shared/red/1"]
    assert labels["instruction"] == "go to the green point"
    assert labels["task"] == "shared/red"
    assert store.provenance.benchmark.startswith('run of toy {"max_steps": 20}, every 2 steps')


def test_any_batch_gives_the_same_up_to_floating_point(played, spec, policy, tmp_path):
    with open_dataset(str(played)) as run:
        store = record_dataset(policy, run, tmp_path, spec, batch=5, progress=False)
    for point in store.points:
        assert set(store.moments(point)) == set(live(played).moments(point))
        for moment in store.moments(point):
            recorded = live(played).lookup(point, moment)
            torch.testing.assert_close(store.lookup(point, moment), recorded)


def test_a_stride_is_part_of_what_a_moment_is(played, spec, policy, tmp_path):
    with open_dataset(str(played)) as run:
        store = record_dataset(policy, run, tmp_path, spec, stride=5, progress=False)
        moments = store.moments(store.points[0])
        assert {(m.step, m.chunk) for m in moments} <= {(5 * i, i) for i in range(4)}
        assert len({m.step for m in moments}) > 1
        with pytest.raises(ValueError, match="another kind of recording"):
            record_dataset(policy, run, tmp_path, spec, progress=False)


def test_called_again_it_records_what_is_missing(played, spec, policy, tmp_path, monkeypatch):
    seen = []
    frames = RunDataset.frames

    def counted(self, episode, steps, features):
        seen.append(episode.name)
        return frames(self, episode, steps, features)

    monkeypatch.setattr(RunDataset, "frames", counted)
    with open_dataset(str(played)) as run:
        record_dataset(policy, run, tmp_path, spec, episodes=["told/*"], progress=False)
        record_dataset(policy, run, tmp_path, spec, progress=False)
    assert sorted(seen) == [
        "base/shared/red/0",
        "base/unique/green/3",
        "noisy/shared/red/2",
        "told/shared/red/1",
    ]


def test_an_interrupted_episode_leaves_nothing_behind(played, spec, policy, tmp_path, monkeypatch):
    frames = RunDataset.frames

    def torn(self, episode, steps, features):
        for frame in frames(self, episode, steps, features):
            if frame.step > 2 and episode.seed == 3:
                raise KeyboardInterrupt
            yield frame

    with open_dataset(str(played)) as run:
        with monkeypatch.context() as patch:
            patch.setattr(RunDataset, "frames", torn)
            with pytest.raises(KeyboardInterrupt):
                record_dataset(policy, run, tmp_path, spec, batch=1, progress=False)
        assert len(ActivationStore.open(tmp_path).episodes()) == 1
        store = record_dataset(policy, run, tmp_path, spec, batch=1, progress=False)
    assert_equal_stores(store, live(played))


def test_film_strips_do_without_a_simulator(played, spec, policy, tmp_path):
    with open_dataset(str(played), pictures="kept") as strips:
        store = record_dataset(
            policy, strips, tmp_path, spec, cameras={"frames": "top"}, batch=1, progress=False
        )
    point = store.points[0]
    moments = store.moments(point)
    assert 1 < len(moments) < len(live(played).moments(point))
    for moment in moments:
        assert torch.equal(store.lookup(point, moment), live(played).lookup(point, moment))


def test_a_replay_that_goes_astray_is_refused(played, spec, policy, tmp_path):
    """The stored track of the hand says where the actions led when they were taken."""
    moved = tmp_path / "moved"
    record = read_episodes(played)[0]
    (moved / "episodes").mkdir(parents=True)
    (moved / "episodes.jsonl").write_text(record.model_dump_json() + "\n")
    run = RunDataset(played)
    arrays = dict(run.arrays_of(run.episodes[0]))
    arrays["end_effector"] = arrays["end_effector"] + np.float32(0.01) * (
        np.arange(len(arrays["end_effector"])) > 3
    )[:, None].astype(np.float32)
    write_arrays(moved / record.arrays, arrays)
    with (
        open_dataset(str(moved)) as changed,
        pytest.raises(MisalignedActivations, match=r"base/shared/red/0 .* at step 4"),
    ):
        record_dataset(policy, changed, tmp_path / "out", spec, progress=False)


def test_pictures_changed_by_a_function_cannot_be_made_again(played, spec, policy, tmp_path):
    changed = tmp_path / "changed"
    changed.mkdir()
    data = json.loads(read_episodes(played)[0].model_dump_json())
    data["perturbed"] = {"looks": 1, "altered": 1, "delivered": 1, "perturbations": []}
    (changed / "episodes.jsonl").write_text(json.dumps(data) + "\n")
    (changed / "episodes").symlink_to(played / "episodes")
    with (
        open_dataset(str(changed)) as run,
        pytest.raises(CapabilityMissing, match="changed by a function"),
    ):
        record_dataset(policy, run, tmp_path / "out", spec, progress=False)


def test_an_episode_that_does_not_exist_is_refused(played, spec, policy, tmp_path):
    with open_dataset(str(played)) as run, pytest.raises(UnknownName, match="base/shared/red/0"):
        record_dataset(policy, run, tmp_path, spec, episodes=["nosuch/*"], progress=False)


def test_a_folder_of_no_known_format_is_refused(tmp_path):
    with pytest.raises(FileMissing, match="run"):
        open_dataset(str(tmp_path))
    with pytest.raises(UnknownName, match="run"):
        open_dataset(str(tmp_path), kind="rum")


def test_an_unknown_option_of_the_format_lists_those_there_are(played):
    with pytest.raises(UnknownName, match="pictures"):
        open_dataset(str(played), picture="kept")


def test_the_command_records(played, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["vlascope"])
    out = tmp_path / "store"
    arguments = ["record", "--policy", "toy:bundled", "--dataset", str(played), "--out", str(out)]
    arguments += ["--at", "vlm.1.resid_post", "--pool", "mean", "--keep-as", "float16", "--quiet"]
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 0
    assert "4 episodes, 1 hook points" in capsys.readouterr().out
    rows = ActivationStore.open(out).read("vlm.1.resid_post")
    assert rows.values.dtype == torch.float16
    assert len(rows) == len({tuple(c[:3]) for c in rows.columns.tolist()})
