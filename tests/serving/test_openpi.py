"""Clients and servers that speak openpi's protocol and know nothing of vlascope."""

import threading
import urllib.request
from contextlib import contextmanager

import msgpack
import numpy as np
import pytest
import websockets.sync.client
import websockets.sync.server

from vlascope.errors import (
    CapabilityMissing,
    IncompatibleError,
    InvalidName,
    ServerLost,
    UnknownName,
)
from vlascope.noise import generator_for
from vlascope.records import EpisodePlan
from vlascope.rollout import BenchmarkSpec, run_episodes
from vlascope.serving import PolicyServer
from vlascope_adapters.remote.adapter import RemoteAdapter
from vlascope_adapters.toy.adapter import ToyAdapter

KEYS = {"observation/image": "top", "observation/state": "position", "prompt": "prompt"}


def array_to_map(value):
    """How openpi's client and server write an array."""
    return {
        b"__ndarray__": True,
        b"data": value.tobytes(),
        b"dtype": value.dtype.str,
        b"shape": value.shape,
    }


def map_to_array(value):
    if b"__ndarray__" not in value:
        return value
    return np.ndarray(value[b"shape"], np.dtype(value[b"dtype"]), value[b"data"])


def pack(message):
    return msgpack.Packer(default=array_to_map).pack(message)


def unpack(data):
    return msgpack.unpackb(data, object_hook=map_to_array)


def plain_request(observation):
    return {
        "observation/image": observation.images["top"],
        "observation/state": observation.state["position"],
        "prompt": observation.instruction,
    }


@pytest.fixture
def client(local):
    """A plain client of a vlascope server."""
    keys = {"observation/image": "top", "observation/state": "position"}
    server = PolicyServer(ToyAdapter.from_pretrained("bundled"), keys=keys, seed=5)
    with (
        server.running() as address,
        websockets.sync.client.connect(address, compression=None, max_size=None) as socket,
    ):
        yield socket


@contextmanager
def plain_server(policy, metadata=None, dim=2):
    """A server that does what openpi's does, around a policy of ours."""
    asked = []

    def handle(connection):
        connection.send(pack(metadata or {}))
        for data in connection:
            request = unpack(data)
            if asked and request["prompt"] == "crash":
                connection.send("Traceback (most recent call last): boom")
                connection.close(1011, "Internal server error")
                return
            asked.append(request)
            seen = policy.example_observation()
            seen.images["top"] = np.array(request["observation/image"])
            seen.state["position"] = np.array(request["observation/state"])
            seen = type(seen)(request["prompt"], seen.images, seen.state)
            actions = policy.infer([seen], generators=[generator_for(0)]).actions[0]
            actions = np.resize(actions, (4, dim))
            connection.send(pack({"actions": actions, "server_timing": {"infer_ms": 1.0}}))

    with websockets.sync.server.serve(handle, "127.0.0.1", 0, compression=None) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}", asked
        server.shutdown()
        thread.join()


def test_a_plain_client_gets_metadata_and_then_chunks(client, local):
    metadata = unpack(client.recv())
    assert metadata["action_horizon"] == 4
    for n in range(2):
        seen = local.example_observation(n)
        client.send(pack(plain_request(seen)))
        answer = unpack(client.recv())
        mine = local.infer([seen], generators=[generator_for(5, n)]).actions[0]
        np.testing.assert_array_equal(answer["actions"], mine)
        assert answer["server_timing"]["infer_ms"] > 0


def test_nested_observations_and_pictures_by_channel_are_read(client, local):
    client.recv()
    seen = local.example_observation(0)
    picture = seen.images["top"].transpose(2, 0, 1).astype(np.float32) / 255
    sent = {"observation": {"image": picture, "state": seen.state["position"]}}
    client.send(pack({**sent, "prompt": seen.instruction}))
    mine = local.infer([seen], generators=[generator_for(5, 0)]).actions[0]
    np.testing.assert_array_equal(unpack(client.recv())["actions"], mine)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"observation/image": None}, "observation/image"),
        ({"observation/image": np.zeros((8, 8, 3), np.uint8)}, "'top' is 16x16"),
        ({"observation/state": np.zeros(3)}, "2: x, y"),
    ],
)
def test_an_observation_that_does_not_fit_is_an_error_in_text(client, local, change, says):
    client.recv()
    request = {**plain_request(local.example_observation()), **change}
    client.send(pack({k: v for k, v in request.items() if v is not None}))
    answer = client.recv()
    assert isinstance(answer, str)
    assert says in answer


def test_bytes_that_are_no_message_end_the_connection_and_not_the_server(client, local):
    client.recv()
    client.send(b"\xc1")
    assert "no message" in client.recv()


def test_keys_must_name_something_the_policy_reads(local):
    with pytest.raises(UnknownName, match="top"):
        PolicyServer(local, keys={"observation/image": "tip"})


def test_health_and_keys():
    with PolicyServer(ToyAdapter.tiny(), api_key="secret").running() as address:
        health = address.replace("ws:", "http:") + "/healthz"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(health) as answer:
            assert answer.read() == b"OK\n"
        with pytest.raises(ServerLost, match="api_key"):
            RemoteAdapter.from_pretrained(address)
        RemoteAdapter.from_pretrained(address, api_key="secret").close()


def test_any_openpi_server_is_evaluated_in_rollouts(local, tmp_path):
    with plain_server(local, {"reset_pose": [0.0]}) as (address, asked):
        policy = RemoteAdapter.from_pretrained(
            address, benchmark="toy", keys=KEYS, executed_steps=2, identity="my-weights"
        )
        assert (policy.info.horizon, policy.info.executed_steps) == (4, 2)
        plans = [EpisodePlan(arm="base", task="shared/red", seed=s) for s in range(3)]
        kwargs = {"workers": 1, "envs_per_worker": 3, "progress": False}
        records = run_episodes(policy, BenchmarkSpec(name="toy"), plans, tmp_path, **kwargs)
        policy.close()
    assert all(r.success for r in records)
    assert asked[-1]["prompt"] == "go to the red point"
    assert asked[-1]["observation/image"].shape == (16, 16, 3)


def test_what_it_reads_may_be_scaled_and_joined(local):
    with plain_server(local) as (address, asked):
        keys = {**KEYS, "observation/image": "top", "observation/state": ["position"]}
        policy = RemoteAdapter.from_pretrained(address, benchmark="toy", keys=keys, resize=16)
        policy.infer([local.example_observation()])
        policy.close()
        assert asked[-1]["observation/state"].shape == (2,)


def test_a_plain_server_refuses_recording_and_editing(local):
    with plain_server(local) as (address, _):
        policy = RemoteAdapter.from_pretrained(address, benchmark="toy", keys=KEYS)
        with (
            pytest.raises(CapabilityMissing, match="speaks openpi's protocol and no more"),
            policy.record("vlm.*.resid_post"),
        ):
            pass
        policy.close()


def test_of_a_plain_server_it_must_be_said_what_it_reads(local):
    with plain_server(local) as (address, _):
        with pytest.raises(InvalidName, match="benchmark=NAME"):
            RemoteAdapter.from_pretrained(address)
        with pytest.raises(UnknownName, match="position"):
            RemoteAdapter.from_pretrained(
                address, benchmark="toy", keys={**KEYS, "observation/state": "positions"}
            )


def test_actions_of_another_length_are_refused(local):
    with (
        plain_server(local, dim=3) as (address, _),
        pytest.raises(IncompatibleError, match="3 numbers an action, toy takes 2: x, y"),
    ):
        RemoteAdapter.from_pretrained(address, benchmark="toy", keys=KEYS)


def test_a_servers_traceback_reaches_the_user(local):
    with plain_server(local) as (address, _):
        policy = RemoteAdapter.from_pretrained(address, benchmark="toy", keys=KEYS)
        seen = local.example_observation()
        with pytest.raises(ServerLost, match="boom"):
            policy.infer([type(seen)("crash", seen.images, seen.state)])
        policy.close()
