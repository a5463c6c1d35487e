"""Episodes come out the same however they are batched, and each is played exactly once."""

import json

import numpy as np
import pytest
import torch

from vlascope.errors import EditMisfired, EnvironmentFailed, IncompatibleError, UnknownName
from vlascope.hooks import Moment
from vlascope.interventions import Identity, Inject, ZeroAblate
from vlascope.noise import generator_for
from vlascope.recording import RecordSpec
from vlascope.records import EpisodePlan
from vlascope.rollout import (
    BenchmarkSpec,
    EpisodeArrays,
    Film,
    open_environments,
    read_episodes,
    run_episodes,
)
from vlascope.rollout.arrays import read_strip
from vlascope.rollout.timelines import NOT_TOLD
from vlascope.store import ActivationStore
from vlascope.types import Observation

TRICK = BenchmarkSpec(name="trick")
POINT = "trunk.0.resid_post"
NOTHING = ZeroAblate(at=POINT, tokens="nosuch")


@pytest.fixture
def walker(trick_world):
    from trick_world import walker

    return walker()


def plans(n=4, task="walk", arm="base", **kwargs):
    return [EpisodePlan(arm=arm, task=task, seed=s, **kwargs) for s in range(n)]


def run(adapter, episodes, folder, **kwargs):
    return run_episodes(adapter, TRICK, episodes, folder, progress=False, **kwargs)


def actions(folder, records):
    return [EpisodeArrays.load(folder, r).actions for r in records]


def test_any_batch_size_gives_the_same_episodes_and_batch_one_replays_exactly(walker, tmp_path):
    episodes = plans(6, stop_on_success=False, max_steps=10)
    greedy = run(walker, episodes, tmp_path / "greedy", workers=1, envs_per_worker=6)
    one = run(walker, episodes, tmp_path / "one", workers=1, envs_per_worker=3, batch=1)
    again = run(walker, episodes, tmp_path / "again", workers=2, envs_per_worker=1, batch=1)
    assert {r.batch_mode for r in greedy} == {"batched"}
    assert {r.batch_mode for r in one} == {"exact"}
    assert max(r.largest_batch for r in greedy) > 1 == max(r.largest_batch for r in one)
    for a, b, c in zip(
        actions(tmp_path / "greedy", greedy),
        actions(tmp_path / "one", one),
        actions(tmp_path / "again", again),
        strict=True,
    ):
        np.testing.assert_allclose(a, b, atol=1e-5)
        assert np.array_equal(b, c)
    assert [r.steps for r in one] == [10] * 6
    replayed = replayed_by_hand(walker, episodes[0], one[0])
    assert np.array_equal(replayed, actions(tmp_path / "one", one)[0][:4])


def replayed_by_hand(adapter, plan, record):
    from trick_world import TrickWorld

    seen = TrickWorld().reset(plan.task, seed=plan.seed)
    told = Observation(record.instruction, seen.images, seen.state)
    return adapter.infer([told], generators=[generator_for(plan.seed, 0)]).actions[0, :4]


def test_a_record_says_what_happened(walker, tmp_path):
    records = run(walker, plans(2, instruction="stroll"), tmp_path, workers=1)
    for record in records:
        arrays = EpisodeArrays.load(tmp_path, record)
        assert record.status == "ok"
        assert record.instruction == "stroll"
        assert record.scene == "plane"
        assert record.success is True
        assert record.steps == record.success_step == len(arrays.actions)
        assert arrays["end_effector"].shape == (record.steps + 1, 3)
        assert set(arrays.objects) == {"goal"}
        gap = np.linalg.norm(arrays["end_effector"] - arrays.objects["goal"], axis=1)
        assert gap[-1] < 0.2 <= gap[-2]
        first_near = int(np.argmax(gap[1:] < 0.5)) + 1
        assert record.predicates["near"] == first_near
        assert record.initial_predicates == (("far",) if gap[0] > 1 else ()) + (
            ("near",) if gap[0] < 0.5 else ()
        )
        assert record.versions.keys() >= {"vlascope", "torch", "numpy", "trick-world"}
    assert {r.digest for r in read_episodes(tmp_path)} == {r.digest for r in records}


def test_arrays_hold_the_state_between_looks_and_every_predicate_at_every_step(walker, tmp_path):
    record = run(walker, plans(1, max_steps=12), tmp_path, workers=1)[0]
    arrays = EpisodeArrays.load(tmp_path, record)
    here, goal = arrays["end_effector"][:, :2], arrays.objects["goal"][:, :2]
    state, looked = arrays.states["state"], walker.info.executed_steps
    assert state.shape == (record.steps + 1, 4)
    assert np.allclose(state[::looked], np.hstack([here, goal])[::looked])
    assert np.array_equal(state[1], state[0])
    near = np.linalg.norm(here - goal, axis=1) < 0.5
    assert arrays.predicates["near"].dtype == np.uint8
    assert arrays.predicates["near"].tolist() == near.astype(int).tolist()


def test_a_benchmark_that_feels_cheaply_has_its_state_at_every_step(toy, tmp_path):
    toy_world = BenchmarkSpec(name="toy")
    plan = [EpisodePlan(arm="base", task="unique/red", seed=0)]
    record = run_episodes(toy, toy_world, plan, tmp_path, progress=False, workers=1)[0]
    arrays = EpisodeArrays.load(tmp_path, record)
    assert np.allclose(arrays.states["position"], arrays["end_effector"][:, :2])
    reached = arrays.predicates["unique/red"]
    assert reached[0] == NOT_TOLD
    assert set(reached[1:].tolist()) <= {0, 1}
    assert record.predicates == (
        {"unique/red": int(np.argmax(reached == 1))} if 1 in reached else {}
    )


def test_finished_episodes_are_skipped_and_a_changed_context_is_not(walker, tmp_path):
    first = run(walker, plans(2), tmp_path, workers=1)
    asked = len(walker.batches)
    assert run(walker, plans(2), tmp_path, workers=1) == first
    assert len(walker.batches) == asked
    edited = run(walker, plans(2), tmp_path, workers=1, interventions=[Identity(at="*")])
    assert {r.digest for r in edited}.isdisjoint({r.digest for r in first})


@pytest.mark.slow
def test_environments_that_raise_crash_or_hang_are_errors_and_never_failures(walker, tmp_path):
    episodes = [p for task in ("raises", "crashes", "hangs") for p in plans(2, task)]
    episodes = [p for p in episodes if p.seed == 0] + plans(3)
    records = run(walker, episodes, tmp_path, workers=1, envs_per_worker=2, timeout=15.0)
    errors, fine = records[:3], records[3:]
    assert [(r.status, r.success, r.arrays) for r in errors] == [("error", None, None)] * 3
    assert "the joint left its limits" in errors[0].error
    assert "killed by SIGSEGV" in errors[1].error
    assert "did not answer within 15 s" in errors[2].error
    assert [(r.status, r.success) for r in fine] == [("ok", True)] * 3
    lines = (tmp_path / "episodes.jsonl").read_text().splitlines()
    assert len(lines) == len(episodes)


@pytest.mark.slow
def test_a_failed_episode_is_played_again_by_the_next_run(walker, tmp_path):
    (failed,) = run(walker, plans(1, "raises"), tmp_path, workers=1, max_failures=3)
    (again,) = run(walker, plans(1, "raises"), tmp_path, workers=1, max_failures=3)
    assert failed.status == again.status == "error"
    assert len((tmp_path / "episodes.jsonl").read_text().splitlines()) == 2
    assert len(read_episodes(tmp_path)) == 1


def test_an_environment_that_always_fails_stops_the_run(walker, tmp_path):
    with pytest.raises(EnvironmentFailed, match=r"3 episodes in a row.*the simulator sulks"):
        run(walker, plans(8, "sulks"), tmp_path, workers=1, max_failures=3)
    assert {r.status for r in read_episodes(tmp_path)} == {"error"}


def test_a_benchmark_that_cannot_be_built_says_why(walker, tmp_path):
    broken = BenchmarkSpec(name="trick", options={"broken": True})
    with pytest.raises(EnvironmentFailed, match="licence server is down"):
        run_episodes(walker, broken, plans(1), tmp_path, workers=1, progress=False)


def test_a_policy_that_does_not_fit_is_refused_before_the_first_episode(walker, tmp_path):
    misfit = BenchmarkSpec(name="trick", options={"misfit": True})
    with pytest.raises(IncompatibleError, match="action-dim"):
        run_episodes(walker, misfit, plans(1), tmp_path, workers=1, progress=False)
    assert not (tmp_path / "episodes.jsonl").exists()


@pytest.mark.parametrize("name", ["benchmark", "task"])
def test_unknown_names_list_near_matches(walker, tmp_path, name):
    spec = BenchmarkSpec(name="trik" if name == "benchmark" else "trick")
    task = "walks" if name == "task" else "walk"
    with pytest.raises(UnknownName, match="did you mean"):
        run_episodes(walker, spec, plans(1, task), tmp_path, progress=False)


def test_an_episode_planned_twice_is_refused(walker, tmp_path):
    with pytest.raises(ValueError, match="planned twice: base/walk/0"):
        run(walker, plans(1) * 2, tmp_path)


@pytest.mark.parametrize("batch", [0, "all", -1])
def test_a_batch_that_means_nothing_is_refused(walker, tmp_path, batch):
    with pytest.raises(ValueError, match="at least 1"):
        run(walker, plans(1), tmp_path, batch=batch)


def test_recorded_activations_land_at_their_coordinates_and_can_be_injected(walker, tmp_path):
    base = plans(3, stop_on_success=False, max_steps=10)
    spec = RecordSpec(at=POINT, tokens="state", dtype="float16")
    records = run(walker, base, tmp_path, workers=1, envs_per_worker=3, record=spec)
    store = ActivationStore.open(tmp_path / "activations")
    rows = store.read(POINT)
    assert set(rows.episode_of()) == {p.episode for p in base}
    assert set(rows.span_of()) == {"state"}
    assert set(
        zip(rows.column("step"), rows.column("chunk"), rows.column("call"), strict=True)
    ) == {(4 * k, k, call) for k in range(3) for call in range(2)}
    assert store.episodes()["base/walk/0"]["success"] == records[0].success
    with walker.record(RecordSpec(at=POINT, dtype="float16")) as cache:
        replayed_by_hand(walker, base[0], records[0])
    expected = cache[POINT][0].rows[0][:2]
    found = store.lookup(rows_point(), Moment("base/walk/0", 0, 0, 0))
    assert torch.allclose(found.float(), expected.float(), atol=1e-3)


def rows_point():
    from vlascope.hooks import HookPoint

    return HookPoint.parse(POINT)


def test_activations_that_were_lost_are_recorded_again(walker, tmp_path):
    spec = RecordSpec(at=POINT)
    run(walker, plans(2), tmp_path, workers=1, record=spec)
    lost = next((tmp_path / "activations" / "units").glob("*walk.1-*"))
    lost.unlink()
    run(walker, plans(2), tmp_path, workers=1, record=spec)
    assert "base/walk/1" in ActivationStore.open(tmp_path / "activations")
    assert len(read_episodes(tmp_path)) == 2


def test_receipts_are_per_episode_and_injecting_a_recording_changes_nothing(walker, tmp_path):
    base = plans(3, stop_on_success=False, max_steps=8)
    one = {"workers": 1, "envs_per_worker": 3, "batch": 1}
    plain = run(walker, base, tmp_path, record=RecordSpec(at=POINT), **one)
    store = ActivationStore.open(tmp_path / "activations")
    arm = plans(3, arm="inject", stop_on_success=False, max_steps=8)
    pairs = {p.episode: b.episode for p, b in zip(arm, base, strict=True)}
    edit = Inject(at=POINT, source=store, pairs=pairs)
    injected = run(walker, arm, tmp_path, interventions=[edit], **one)
    for record in injected:
        (receipt,) = record.receipts
        assert receipt.fired == {0: 2, 1: 2}
        assert receipt.expected == 4
        assert receipt.dx_ratio_max == 0.0
    for a, b in zip(actions(tmp_path, plain), actions(tmp_path, injected), strict=True):
        assert np.array_equal(a, b)


def test_an_arm_whose_edit_never_acts_is_refused_early_and_not_written_down(walker, tmp_path):
    with pytest.raises(EditMisfired, match="edited nothing in 2 episodes"):
        run(walker, plans(50), tmp_path, interventions=[NOTHING], workers=1)
    assert not (tmp_path / "episodes.jsonl").exists()


def test_an_edit_that_was_never_due_is_refused_at_the_end(walker, tmp_path):
    late = ZeroAblate(at=POINT, steps=(500, 600))
    with pytest.raises(EditMisfired, match="0 row edits were due"):
        run(walker, plans(2), tmp_path, interventions=[late], workers=1)


def test_an_action_that_is_not_finite_ends_the_episode_as_the_policys_failure(walker, tmp_path):
    with torch.no_grad():
        walker.model.out.bias.fill_(float("nan"))
    (record,) = run(walker, plans(1), tmp_path, workers=1)
    assert (record.status, record.success, record.steps) == ("ok", False, 0)
    assert "not finite" in record.error
    assert EpisodeArrays.load(tmp_path, record).actions.shape == (0, 2)


def test_film_strips_hold_the_first_and_the_last_picture_of_chosen_episodes(walker, tmp_path):
    film = Film(frames=3, only=frozenset({("walk", 1)}))
    records = run(
        walker,
        plans(2, stop_on_success=False, max_steps=10),
        tmp_path,
        workers=1,
        film=film,
        perturb="trick_world:darken",
    )
    assert records[0].frames is None
    strip = read_strip(tmp_path, records[1])
    assert strip.steps.tolist() == [0, 4, 10] or strip.steps.tolist() == [0, 8, 10]
    assert strip.images[:, 0, 0, 0].tolist() == [s // 2 for s in strip.steps]


def test_a_video_is_an_mp4(walker, tmp_path):
    pytest.importorskip("av")
    film = Film(frames=0, video=True, video_every=2)
    (record,) = run(walker, plans(1), tmp_path, workers=1, film=film)
    assert (tmp_path / record.video).read_bytes()[4:8] == b"ftyp"


def test_success_does_not_end_an_episode_that_should_go_on(walker, tmp_path):
    (record,) = run(walker, plans(1, stop_on_success=False), tmp_path, workers=1)
    assert record.steps == 20
    assert record.success_step is not None
    assert record.success_step < 20


def test_progress_is_json_lines_where_there_is_no_terminal(walker, tmp_path, capfd):
    run_episodes(walker, TRICK, plans(2), tmp_path, workers=1, title="arm x")
    last = json.loads(capfd.readouterr().err.splitlines()[-1])
    assert (last["run"], last["finished"], last["total"]) == ("arm x", 2, 2)
    assert last["episodes_per_minute"] > 0


def test_receipts_of_finished_episodes_take_no_memory(walker):
    plan = plans(1)[0]
    from trick_world import TrickWorld

    seen = TrickWorld().reset("walk", seed=0)
    with walker.intervene(Identity(at="*")) as editing:
        for i in range(5):
            walker.infer(
                [seen, seen], moments=[Moment(f"e{i}", 0, 0), Moment(plan.episode, 4 * i, i)]
            )
            assert editing.receipts_of(f"e{i}")[0].edits == 2
            editing.forget(f"e{i}")
            assert editing.receipts_of(f"e{i}")[0].edits == 0
        assert editing.receipts[0].edits == 20
        assert editing.receipts[0].expected == 20
        (session,) = editing._sessions
        assert {name for t in session._tallies for name in t.episodes} == {plan.episode}
        assert set(session._expected) == {plan.episode}


def test_several_arms_share_environments_even_after_one_was_refused(walker, tmp_path):
    with open_environments(TRICK, tmp_path / "logs", workers=1) as environments:
        pids = environments.pids
        shared = {"environments": environments}
        (bright,) = run(walker, plans(1), tmp_path, film=Film(frames=2), **shared)
        dark = plans(1, arm="dark")
        (darkened,) = run(
            walker, dark, tmp_path, film=Film(frames=2), perturb="trick_world:darken", **shared
        )
        assert environments.pids == pids
        pictures = [read_strip(tmp_path, r).images[-1, 0, 0, 0] for r in (bright, darkened)]
        assert pictures[1] == pictures[0] // 2
        with pytest.raises(EditMisfired):
            run(walker, plans(4, arm="no"), tmp_path, interventions=[NOTHING], **shared)
        assert run(walker, plans(1, arm="more"), tmp_path, **shared)[0].status == "ok"
        other = BenchmarkSpec(name="trick", options={"max_steps": 3})
        with pytest.raises(ValueError, match="wants"):
            run_episodes(walker, other, plans(1), tmp_path, progress=False, **shared)


def test_the_worker_never_imports_torch():
    import subprocess
    import sys

    code = "import sys, vlascope.rollout.worker as w; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_film_asks_for_something_sensible():
    with pytest.raises(ValueError, match="at least"):
        Film(frames=-1)
    assert Film(only=[("walk", 1)]).wants("walk", 1)  # type: ignore[arg-type]
