"""Videos made after the fact show the episodes that were played, and nothing else."""

import io
import shutil
import sys
from contextlib import closing

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from vlascope import plugins
from vlascope.benchmark import BenchmarkEnv
from vlascope.cli import main
from vlascope.errors import CapabilityMissing, FileMissing, MisalignedActivations, UnknownName
from vlascope.records import EpisodePlan
from vlascope.replay import film_run
from vlascope.replay.montage import side_by_side
from vlascope.replay.view import View
from vlascope.rollout import BenchmarkSpec, EpisodeArrays, read_episodes, run_episodes
from vlascope.rollout.film import encode_mp4
from vlascope.study import load_study, run_study
from vlascope_adapters.toy.adapter import ToyAdapter

av = pytest.importorskip("av")


def frames_of(path):
    """Pictures (n, height, width, 3) and the rate of a video."""
    with av.open(io.BytesIO(path.read_bytes())) as container:
        stream = container.streams.video[0]
        pictures = [f.to_ndarray(format="rgb24") for f in container.decode(stream)]
        return np.stack(pictures), float(stream.average_rate)


def film(run, out, **options):
    return list(film_run(run, out, progress=False, **options))


def toy_env():
    return closing(plugins.benchmark_class("toy")(max_steps=20))


@pytest.fixture(scope="module")
def paired(tmp_path_factory):
    """A run of two arms, of different lengths, on one task and seed."""
    folder = tmp_path_factory.mktemp("paired") / "run"
    plans = [
        EpisodePlan(arm="base", task="shared/red", seed=0),
        EpisodePlan(arm="other", task="shared/red", seed=0, max_steps=4),
    ]
    run_episodes(
        ToyAdapter.from_pretrained("bundled"),
        BenchmarkSpec(name="toy"),
        plans,
        folder,
        workers=1,
        envs_per_worker=1,
        progress=False,
    )
    return folder


@pytest.fixture
def changed(played, tmp_path_factory):
    """A copy of the run whose first episode was tampered with."""

    def change(record=None, arrays=None):
        folder = tmp_path_factory.mktemp("changed") / "run"
        shutil.copytree(played, folder)
        found = read_episodes(folder)
        for i, old in enumerate(found):
            if old.plan.episode == "base/shared/red/0":
                found[i] = old.model_copy(update=record or {})
                if arrays is not None:
                    file = folder / old.arrays
                    save_file(arrays(load_file(file)), file)
        lines = "".join(f"{r.model_dump_json()}\n" for r in found)
        (folder / "episodes.jsonl").write_text(lines)
        return folder

    return change


def told(run, episode):
    return next(r for r in read_episodes(run) if r.plan.episode == episode)


def test_a_video_shows_every_step_where_the_hand_was(played, tmp_path):
    (path,) = film(played, tmp_path, episodes=["base/unique/green/3"])
    assert path == tmp_path / "base" / "unique" / "green" / "3.mp4"
    pictures, rate = frames_of(path)
    record = told(played, "base/unique/green/3")
    assert rate == 10
    assert pictures.shape == (record.steps + 1, 192, 192, 3)
    with toy_env() as env:
        env.reset("unique/green", seed=3)
        shown = [env.frame()]
        for action in EpisodeArrays.load(played, record).actions:
            env.step(action)
            shown.append(env.frame())
    assert path.read_bytes() == encode_mp4(shown, 10)


def test_perturbed_episodes_are_shown_as_they_were(played, tmp_path):
    (path,) = film(played, tmp_path, arms=["noisy"])
    first = frames_of(path)[0][0]
    with toy_env() as env:
        env.reset("shared/red", seed=2)
        assert np.abs(first.astype(int) - env.frame()).mean() < 6


def test_the_last_step_is_shown_however_few_pictures_there_are(played, tmp_path):
    (path,) = film(played, tmp_path, episodes=["base/shared/red/0"], view=View(every=1000))
    assert path.name == "0-every1000.mp4"
    assert len(frames_of(path)[0]) == 2


def test_a_named_camera_is_the_policys_own(played, tmp_path):
    (path,) = film(played, tmp_path, episodes=["base/shared/red/0"], view=View(camera="top"))
    assert path.name == "0-top.mp4"
    assert frames_of(path)[0].shape[1:] == (16, 16, 3)


def test_what_exists_is_kept_unless_told_otherwise(played, tmp_path):
    (path,) = film(played, tmp_path, arms=["told"])
    made = path.read_bytes()
    path.write_bytes(b"mine")
    assert film(played, tmp_path, arms=["told"]) == [path]
    assert path.read_bytes() == b"mine"
    assert film(played, tmp_path, arms=["told"], overwrite=True) == [path]
    assert path.read_bytes() == made


def test_arms_of_one_task_and_seed_stand_side_by_side(paired, tmp_path):
    (path,) = film(paired, tmp_path, together=True)
    assert path == tmp_path / "together" / "shared" / "red" / "0-base+other.mp4"
    pictures, _ = frames_of(path)
    steps = [record.steps for record in read_episodes(paired)]
    assert pictures.shape[0] == max(steps) + 1
    assert pictures.shape[2] == 2 * 192


def test_a_shorter_clip_rests_and_many_stand_in_a_square():
    clips = {str(i): [np.full((200, 200, 3), 10 * i, np.uint8)] * (i + 1) for i in range(5)}
    joined = side_by_side(clips)
    assert len(joined) == 5
    assert joined[0].shape == (2 * 240, 3 * 200, 3)
    assert (joined[4][40:240, :200] == 0).all()
    assert (joined[0][280:, 200:400] == 40).all()
    assert (joined[0][240:, 400:] == 255).all()


def test_arms_without_a_pair_are_not_shown_together(played, tmp_path):
    with pytest.raises(FileMissing, match="beside it; choose more arms"):
        film(played, tmp_path, together=True)


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        ({"episodes": ["base/shared/rad/0"]}, "did you mean 'base/shared/red/0'"),
        ({"arms": ["bose"]}, "did you mean 'base'"),
        ({"view": View(camera="tip")}, "did you mean 'top'"),
    ],
)
def test_near_matches_are_listed(options, hint, played, tmp_path):
    with pytest.raises(UnknownName, match=hint):
        film(played, tmp_path, **options)


def test_an_empty_choice_and_an_empty_folder_are_refused(played, tmp_path):
    with pytest.raises(FileMissing, match="in the arms and of the names given"):
        film(played, tmp_path, episodes=["base/shared/red/0"], arms=["told"])
    with pytest.raises(FileMissing, match=r"neither episodes\.jsonl nor study\.json"):
        film(tmp_path, None)


def test_a_size_is_refused_where_there_is_only_one(played, tmp_path):
    with pytest.raises(CapabilityMissing, match=r"toy.*one size only.*max_steps"):
        film(played, tmp_path, view=View(size=64))


def test_a_size_keeps_the_pictures_shape_where_it_has_two_sides():
    class Wide(BenchmarkEnv):
        def __init__(self, *, camera="front", height=480, width=640): ...

    given = {"width": 960}
    assert View(size=100).options(Wide, given) == {"height": 100, "width": 200}
    assert View(camera="side").options(Wide, {}) == {"camera": "side"}


def test_an_episode_whose_environment_failed_is_not_shown(changed, tmp_path):
    run = changed(record={"status": "error", "success": None, "error": "it fell over"})
    with pytest.raises(FileMissing, match=r"failed in base/shared/red/0 \(it fell over"):
        film(run, tmp_path, episodes=["base/shared/red/0"])


def without_configuration(arrays):
    """As runs of benchmarks that keep none leave them."""
    return {k: v for k, v in arrays.items() if k != "configuration"}


def test_without_a_kept_configuration_the_actions_are_played_again(changed, played, tmp_path):
    run = changed(arrays=without_configuration)
    (again,) = film(run, tmp_path / "again", episodes=["base/shared/red/0"])
    (drawn,) = film(played, tmp_path / "drawn", episodes=["base/shared/red/0"])
    assert again.read_bytes() == drawn.read_bytes()


def test_videos_are_drawn_without_a_step_of_the_simulator(played, tmp_path, monkeypatch):
    def refused(self, action):
        raise AssertionError("stepped")

    monkeypatch.setattr(plugins.benchmark_class("toy"), "step", refused)
    assert film(played, tmp_path, episodes=["base/shared/red/0"])[0].stat().st_size > 0


def test_a_configuration_of_another_scene_is_refused(changed, tmp_path):
    run = changed(arrays=lambda a: {**a, "configuration": a["configuration"][:, :1]})
    with pytest.raises(MisalignedActivations, match=r"a point's position is \(2,\); got \(1,\)"):
        film(run, tmp_path, episodes=["base/shared/red/0"])


@pytest.mark.parametrize("change", [dict, without_configuration], ids=["kept", "played again"])
def test_a_replay_that_goes_elsewhere_is_refused(change, changed, tmp_path):
    run = changed(arrays=lambda a: change({**a, "end_effector": a["end_effector"] + 0.002}))
    with pytest.raises(MisalignedActivations, match=r"the hand is 0\.0035 m from where it was"):
        film(run, tmp_path, episodes=["base/shared/red/0"])
    assert not list(tmp_path.rglob("*.mp4"))


def test_a_replay_that_nothing_can_confirm_is_refused(changed, tmp_path):
    kept = ("action",)
    run = changed(arrays=lambda a: {k: v for k, v in a.items() if k in kept})
    with pytest.raises(CapabilityMissing, match="cannot be played again: benchmark 'toy"):
        film(run, tmp_path, episodes=["base/shared/red/0"])


def test_the_extra_is_named_before_anything_is_played(played, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(CapabilityMissing, match=r"pip install 'vlascope\[video\]'"):
        film_run(played, tmp_path)


def test_the_command_prints_where_the_videos_are(paired, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["video", str(paired), "--arm", "base", "--out", str(tmp_path), "--quiet"])
    assert not stopped.value.code
    path = tmp_path / "base" / "shared" / "red" / "0.mp4"
    assert capsys.readouterr().out.split() == [str(path)]
    assert path.stat().st_size > 0


def test_the_episodes_of_a_study_are_found_in_its_shards(tmp_path):
    """Arms of one task and seed may have been played by different shards."""
    file = tmp_path / "study.yaml"
    file.write_text(
        "name: filmed\npolicies: {toy: {adapter: toy, checkpoint: bundled}}\n"
        "benchmark: {name: toy}\ntasks: [shared/red]\nseeds: 0-1\nworkers: 1\n"
        "arms: {baseline: {}, other: {}}\n"
    )
    study, run = load_study(file), tmp_path / "run"
    assert run_study(study, run, progress=False).ok
    (whole,) = film(run, tmp_path / "a", episodes=["toy/baseline/shared/red/1"])
    assert whole == tmp_path / "a" / "toy" / "baseline" / "shared" / "red" / "1.mp4"
    shard = run / "shards" / "1" / "toy"
    shutil.copytree(run / "toy", shard)
    for folder, arm in ((run / "toy", "baseline"), (shard, "other")):
        kept = [r for r in read_episodes(folder) if r.plan.arm == arm]
        lines = "".join(f"{r.model_dump_json()}\n" for r in kept)
        (folder / "episodes.jsonl").write_text(lines)
    made = film(run, tmp_path / "b", episodes=["*/red/1"], together=True)
    name = "1-baseline+other.mp4"
    assert made == [tmp_path / "b" / "toy" / "together" / "shared" / "red" / name]
