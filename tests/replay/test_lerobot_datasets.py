"""Episodes exported as a LeRobotDataset come back from lerobot's own loader as they were."""

import json
import logging

import numpy as np
import pytest
import torch

from vlascope import load, plugins
from vlascope.errors import AlreadyThere, CapabilityMissing, CorruptFile, IncompatibleError
from vlascope.replay import export_run, open_dataset, record_dataset
from vlascope.replay.runs import RunDataset
from vlascope.store import ActivationStore

pytest.importorskip("lerobot")
pytest.importorskip("datasets")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("default"),  # upstream's own, of several libraries
]


@pytest.fixture(scope="module", autouse=True)
def offline(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("HF_LEROBOT_HOME", str(tmp_path_factory.mktemp("home")))
        logging.disable(logging.WARNING)
        yield
        logging.disable(logging.NOTSET)


@pytest.fixture(scope="module")
def video(played, tmp_path_factory):
    out = tmp_path_factory.mktemp("export") / "video"
    return export_run(played, out, to="lerobot", progress=False)


@pytest.fixture(scope="module")
def exact(played, tmp_path_factory):
    out = tmp_path_factory.mktemp("export") / "exact"
    return export_run(played, out, to="lerobot", video=False, progress=False)


@pytest.mark.parametrize("kind", ["video", "exact"])
def test_lerobots_loader_reads_what_was_played(kind, played, request):
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    folder = request.getfixturevalue(kind)
    found = LeRobotDataset("local/any", root=folder, video_backend="pyav", return_uint8=True)
    run = RunDataset(played)
    assert found.num_episodes == len(run.episodes) == 4
    assert found.fps == 10
    assert found.num_frames == sum(e.steps for e in run.episodes)
    assert found.meta.video_keys == (["observation.images.top"] if kind == "video" else [])
    row = 0
    for i, episode in enumerate(run.episodes):
        arrays = run.arrays_of(episode)
        frames = run.frames(episode, range(episode.steps), {"top"})
        for step, frame in zip(range(episode.steps), frames, strict=True):
            item = found[row]
            assert (item["episode_index"], item["frame_index"]) == (i, step)
            assert item["task"] == frame.instruction
            np.testing.assert_array_equal(item["action"], arrays.actions[step])
            np.testing.assert_array_equal(
                item["observation.state"], arrays.states["position"][step]
            )
            picture = item["observation.images.top"]
            if picture.dtype != torch.uint8:
                picture = (255 * picture).round()
            picture = picture.permute(1, 2, 0).numpy().astype(float)
            off = np.abs(picture - frame.values["top"])
            noisy = episode.name.startswith("noisy")  # which no codec keeps
            assert (off.mean() < (32 if noisy else 8)) if kind == "video" else off.max() == 0
            row += 1


def test_recording_from_the_exact_export_equals_the_live_recording(exact, played, spec, tmp_path):
    with open_dataset(str(exact)) as dataset:
        assert dataset.name.startswith("LeRobotDataset")
        store = record_dataset(
            load("toy", "bundled"), dataset, tmp_path, spec, batch=1, progress=False
        )
    live = ActivationStore.open(played / "activations")
    for point in live.points:
        a, b = live.read(point), store.read(point)
        assert a.episodes == b.episodes
        np.testing.assert_array_equal(a.columns, b.columns)
        assert torch.equal(a.values, b.values)
    assert store.episodes()["told/shared/red/1"]["success"] is not None


def test_a_dataset_of_somebody_else_has_numbered_episodes(video, spec, tmp_path):
    (video / "meta" / "vlascope.json").rename(tmp_path / "away")
    try:
        with open_dataset(str(video)) as dataset:
            assert [e.name for e in dataset.episodes] == [f"episode-00000{i}" for i in range(4)]
            assert dataset.episodes[3].task == "go to the green point"
            picked = ["episode-000001"]
            policy, out = load("toy", "bundled"), tmp_path / "store"
            store = record_dataset(policy, dataset, out, spec, episodes=picked, progress=False)
    finally:
        (tmp_path / "away").rename(video / "meta" / "vlascope.json")
    assert list(store.episodes()) == picked


def test_a_feature_that_does_not_fit_is_named(exact, spec, tmp_path):
    states = {"observation.state[0:1]": "position"}
    with (
        open_dataset(str(exact)) as dataset,
        pytest.raises(IncompatibleError, match=r"observation\.state"),
    ):
        record_dataset(load("toy"), dataset, tmp_path, spec, states=states, progress=False)


def test_a_broken_dataset_is_named(exact, tmp_path):
    (tmp_path / "meta").mkdir()
    info = json.loads((exact / "meta" / "info.json").read_text())
    (tmp_path / "meta" / "info.json").write_text(json.dumps({**info, "codebase_version": "v2.1"}))
    with pytest.raises(CorruptFile, match="LeRobotDataset v3"):
        open_dataset(str(tmp_path))


def test_an_existing_folder_is_not_overwritten(played, exact):
    with pytest.raises(AlreadyThere):
        export_run(played, exact, to="lerobot", progress=False)


def test_a_format_that_is_only_read_says_so(played, tmp_path):
    assert "run" in plugins.datasets()
    with pytest.raises(CapabilityMissing, match="read, not written"):
        export_run(played, tmp_path / "out", to="run", progress=False)
    assert not (tmp_path / "out").exists()
