"""A policy behind a server acts, is recorded and is edited like the same policy here."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from vlascope.conformance import check_adapter
from vlascope.errors import (
    CapabilityMissing,
    EditMisfired,
    IncompatibleError,
    InvalidName,
    ServerLost,
    UnknownName,
)
from vlascope.interventions import Inject, MeanAblate, Steer, SteerTo, ZeroAblate
from vlascope.noise import generator_for
from vlascope.recording import RecordSpec
from vlascope.records import EpisodePlan
from vlascope.rollout import (
    BenchmarkSpec,
    EpisodeArrays,
    open_environments,
    read_episodes,
    run_episodes,
)
from vlascope.serving import PolicyServer
from vlascope.store import ActivationStore
from vlascope_adapters.remote.adapter import RemoteAdapter
from vlascope_adapters.toy.adapter import ToyAdapter

TOY = BenchmarkSpec(name="toy", options={"max_steps": 16})
PLANS = [
    EpisodePlan(arm="base", task="shared/red", seed=0),
    EpisodePlan(arm="base", task="shared/red", seed=1, instruction="go to the blue point"),
    EpisodePlan(arm="base", task="unique/green", seed=2),
]


def examples(policy, n=3):
    return [policy.example_observation(i) for i in range(n)]


@pytest.fixture(scope="module")
def play(tmp_path_factory):
    """Play the plans one after another, exactly, in environments that all tests share."""
    logs = tmp_path_factory.mktemp("workers")
    with open_environments(TOY, logs, workers=1, envs_per_worker=1) as environments:

        def played(policy, folder, **kwargs):
            shared = {"batch": 1, "environments": environments, "progress": False}
            return run_episodes(policy, TOY, PLANS, folder, **shared, **kwargs)

        yield played


@pytest.fixture(scope="module")
def base(play, local, tmp_path_factory):
    """The folder of an unedited, recorded run."""
    folder = tmp_path_factory.mktemp("base")
    play(local, folder, record=RecordSpec(at=("vlm.1.resid_post", "expert.*.resid_post")))
    return folder


def test_every_promise_is_kept_that_does_not_need_an_edit_of_the_checks_own():
    failed = [r for r in check_adapter(RemoteAdapter) if not r.ok]
    assert failed == []


def test_it_says_what_is_served(remote, local, address):
    assert remote.info.checkpoint == address
    assert remote.info.checkpoint_hash == local.info.checkpoint_hash
    assert remote.info.notes["served"] == "toy:bundled"
    assert remote.info.pathways == local.info.pathways
    assert remote.info.action == local.info.action
    assert remote.match("vlm.*") == local.match("vlm.*")
    assert remote.dead_points() == local.dead_points()


def test_noise_is_the_callers(remote, local):
    seen = examples(local)
    here = [generator_for(i, 4) for i in range(3)]
    there = [generator_for(i, 4) for i in range(3)]
    mine = local.infer(seen, generators=here).actions
    np.testing.assert_array_equal(remote.infer(seen, generators=there).actions, mine)
    assert all(torch.equal(a.get_state(), b.get_state()) for a, b in zip(here, there, strict=True))


@pytest.mark.parametrize("dtype", [None, "bfloat16"])
@pytest.mark.parametrize("pool", ["none", "mean"])
def test_recordings_are_equal(remote, local, dtype, pool):
    tokens = ("instruction", "state") if pool == "none" else ("image.*",)
    spec = RecordSpec(at="vlm.*.resid_post", tokens=tokens, pool=pool, dtype=dtype)
    seen = examples(local)
    with local.record(spec) as here:
        local.infer(seen)
    with remote.record(spec) as there:
        remote.infer(seen)
    assert list(here) == list(there)
    for point in here:
        for a, b in zip(here[point], there[point], strict=True):
            assert a.firing == b.firing
            assert a.tokens == b.tokens
            assert all(torch.equal(x, y) for x, y in zip(a.rows, b.rows, strict=True))
            assert {r.dtype for r in a.rows} == {r.dtype for r in b.rows}


def test_episodes_and_their_activations_equal_local_ones(remote, play, base, tmp_path):
    spec = RecordSpec(at=("vlm.1.resid_post", "expert.*.resid_post"))
    here = read_episodes(base)
    there = play(remote, tmp_path, record=spec)
    assert [r.digest for r in here] == [r.digest for r in there]
    for a, b in zip(here, there, strict=True):
        assert (a.success, a.steps, a.prompt) == (b.success, b.steps, b.prompt)
        mine, other = EpisodeArrays.load(base, a), EpisodeArrays.load(tmp_path, b)
        np.testing.assert_array_equal(mine.actions, other.actions)
    stores = [ActivationStore.open(folder / "activations") for folder in (base, tmp_path)]
    for point in stores[0].points:
        a, b = (store.read(point) for store in stores)
        assert torch.equal(a.values, b.values)
        np.testing.assert_array_equal(a.columns, b.columns)


def edits(store):
    unit = torch.nn.functional.normalize(torch.arange(128.0), dim=0)
    return {
        "zero": ZeroAblate(at="vlm.1.resid_post", steps=(4, 8)),
        "mean": MeanAblate(
            at="vlm.1.resid_post", means={"vlm.1.resid_post": unit}, tokens="image.*"
        ),
        "steer": Steer(at="vlm.0.resid_post", direction=unit, strength=0.5, tokens="soft_prompt"),
        "closed_loop": SteerTo(
            at="vlm.0.resid_post", direction=unit, quantity="position.x", target=0.3, gain=2.0
        ),
        "inject": Inject(
            at="vlm.1.resid_post",
            source=store,
            pairs={p.episode: "base/shared/red/0" for p in PLANS},
            missing="stop",
        ),
    }


@pytest.mark.parametrize("name", ["zero", "mean", "steer", "closed_loop", "inject"])
def test_interventions_act_and_leave_equal_receipts(name, remote, local, play, base, tmp_path):
    edit = edits(ActivationStore.open(base / "activations"))[name]
    found = {}
    for where, policy in (("here", local), ("there", remote)):
        found[where] = play(policy, tmp_path / where, interventions=[edit])
    changed = 0
    for plain, a, b in zip(read_episodes(base), found["here"], found["there"], strict=True):
        assert a.receipts == b.receipts
        assert a.receipts[0].edits > 0
        mine, other, before = (
            EpisodeArrays.load(folder, record)
            for folder, record in ((tmp_path / "here", a), (tmp_path / "there", b), (base, plain))
        )
        assert set(mine) == set(other)
        for key in mine:
            np.testing.assert_array_equal(mine[key], other[key])
        changed += not np.array_equal(mine.actions, before.actions)
    assert changed


def test_a_recorder_sees_what_flows_on_from_an_edit(remote, local):
    seen = examples(local)
    for policy in (local, remote):
        edit = ZeroAblate(at="vlm.0.resid_post")
        with policy.intervene(edit), policy.record("vlm.0.resid_post") as cache:
            policy.infer(seen)
        assert not cache.stack("vlm.0.resid_post").any()


def test_clients_do_not_see_each_others_edits(remote, local, address):
    seen = examples(local)
    plain = local.infer(seen).actions
    other = RemoteAdapter.from_pretrained(address)
    with remote.intervene(ZeroAblate(at="vlm.1.resid_post")):
        edited = remote.infer(seen).actions
        np.testing.assert_array_equal(other.infer(seen).actions, plain)
        np.testing.assert_array_equal(remote.infer(seen).actions, edited)
    assert not np.array_equal(edited, plain)
    np.testing.assert_array_equal(remote.infer(seen).actions, plain)
    other.close()


def test_errors_of_the_server_are_raised_here_and_the_connection_lives_on(remote, local):
    seen = examples(local)
    with pytest.raises(UnknownName, match="vlm"), remote.record("vlm.9.resid_post"):
        pass
    wrong = Steer(at="vlm.0.resid_post", direction=torch.ones(7), strength=1.0)
    with pytest.raises(ValueError, match="7"), remote.intervene(wrong):
        remote.infer(seen)
    never = ZeroAblate(at="vlm.0.resid_post", episodes="nobody")
    with pytest.raises(EditMisfired, match="never fired"), remote.intervene(never):
        remote.infer(seen)
    np.testing.assert_array_equal(remote.infer(seen).actions, local.infer(seen).actions)


def test_device_and_dtype_are_the_servers(address):
    with pytest.raises(CapabilityMissing, match="vlascope serve"):
        RemoteAdapter.from_pretrained(address, device="cuda")


def test_nobody_listening_is_said():
    with pytest.raises(ServerLost, match="vlascope serve"):
        RemoteAdapter.from_pretrained("ws://127.0.0.1:9")
    with pytest.raises(InvalidName, match="ws://HOST:PORT"):
        RemoteAdapter.from_pretrained("somewhere")


@pytest.fixture
def process():
    """`vlascope serve` in a process of its own, and where it serves."""
    start = "from vlascope.cli import main; main()"
    command = [sys.executable, "-c", start, "serve", "--policy", "toy:bundled"]
    with subprocess.Popen([*command, "--port", "0"], stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        yield running, running.stdout.readline().split()[-1]
        running.kill()


@pytest.mark.slow
def test_a_killed_server_loses_no_finished_episode(process, local, play, tmp_path, monkeypatch):
    """Served again, the run plays what is missing."""
    server, address = process
    policy = RemoteAdapter.from_pretrained(address, wait=60)
    asked, predict_chunk = [], policy.predict_chunk

    def killing(observations, *, generators):
        asked.append(len(observations))
        if len(asked) == 12:
            server.kill()
            server.wait()
        return predict_chunk(observations, generators=generators)

    monkeypatch.setattr(policy, "predict_chunk", killing)
    with pytest.raises(ServerLost, match="went away"):
        play(policy, tmp_path)
    policy.close()
    before = read_episodes(tmp_path)
    assert 0 < len(before) < len(PLANS)
    after = play(local, tmp_path)
    assert [r for r in after if r.digest in {b.digest for b in before}] == before
    assert len(after) == len(PLANS)


def test_another_version_of_the_protocol_is_refused(monkeypatch):
    monkeypatch.setattr("vlascope.serving.describing.PROTOCOL", 99)
    served = PolicyServer(ToyAdapter.from_pretrained("bundled"))
    with served.running() as address:
        served._description = type(
            "Old", (), {"metadata": lambda _: {"vlascope": {"protocol": 1, "version": "0.0"}}}
        )()
        with pytest.raises(IncompatibleError, match="protocol 1"):
            RemoteAdapter.from_pretrained(address)
