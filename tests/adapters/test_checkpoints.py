"""Checkpoints are found and read, and every error says what to do."""

from __future__ import annotations

import errno
import json
import struct
import sys

import pytest
import torch
from safetensors.torch import save_file

from vlascope.errors import CorruptFile, DiskFull, FileMissing
from vlascope_adapters.checkpoints import WEIGHTS, fetch, read_json, read_tensors


@pytest.fixture
def tensors():
    generator = torch.Generator().manual_seed(0)
    return {f"layer.{i}": torch.randn(3, 2, generator=generator) for i in range(5)}


def test_a_folder_is_taken_as_it_is(tmp_path):
    assert fetch(str(tmp_path), ()) == tmp_path


def test_a_home_folder_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "policy").mkdir()
    assert fetch("~/policy", ()) == tmp_path / "policy"


@pytest.mark.parametrize(
    "name", ["", "policy", "./policy", "/nowhere/policy", "~/policy", "a/b/c", "a/b c", "a/"]
)
def test_what_is_neither_a_folder_nor_a_hub_id_is_refused(name, hub):
    with pytest.raises(FileMissing, match="neither a folder here nor a hub id"):
        fetch(name, ())
    assert hub.asked == []


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub without a network: it remembers what it was asked, and gives a folder or an error."""
    huggingface_hub = pytest.importorskip("huggingface_hub")

    class Hub:
        def __init__(self) -> None:
            self.asked: list[object] = []
            self.error: Exception | None = None

        def download(self, name, **kwargs):
            self.asked.append((name, kwargs))
            if self.error is not None:
                raise self.error
            return str(tmp_path)

    fake = Hub()
    monkeypatch.setattr(huggingface_hub, "snapshot_download", fake.download)
    return fake


def test_a_hub_id_is_downloaded_in_part(hub, tmp_path):
    assert fetch("someone/policy", ("*.json",), revision="v2") == tmp_path
    wanted = {"revision": "v2", "allow_patterns": ["*.json"]}
    assert hub.asked == [("someone/policy", wanted)]


def refusal(kind, text="no luck"):
    """An error of the hub's client; those of the server's answers carry the answer."""
    from huggingface_hub import errors

    if kind in {"LocalEntryNotFoundError", "OfflineModeIsEnabled"}:
        return getattr(errors, kind)(text)
    import httpx

    answer = httpx.Response(404, request=httpx.Request("GET", "https://huggingface.co"))
    return getattr(errors, kind)(text, response=answer)


REFUSALS = {
    "GatedRepoError": "is gated: accept its terms at https://huggingface.co/someone/policy",
    "RepositoryNotFoundError": "no folder 'someone/policy' here, and the hub has no",
    "RevisionNotFoundError": "no revision 'v2'",
    "LocalEntryNotFoundError": "not cached.*run this again with a network",
    "OfflineModeIsEnabled": "not cached.*OfflineModeIsEnabled: no luck",
    "HfHubHTTPError": "not cached.*hf download someone/policy",
}


@pytest.mark.parametrize(("kind", "said"), REFUSALS.items(), ids=list(REFUSALS))
def test_a_refusal_of_the_hub_says_what_to_do(hub, kind, said):
    hub.error = refusal(kind)
    with pytest.raises(FileMissing, match=said):
        fetch("someone/policy", (), revision="v2")


@pytest.mark.parametrize("error", [ConnectionResetError("reset"), TimeoutError(), RuntimeError()])
def test_a_broken_connection_says_what_to_do(hub, error):
    hub.error = error
    with pytest.raises(FileMissing, match="run this again with a network"):
        fetch("someone/policy", ())


def test_a_full_disk_is_said_to_be_full(hub):
    hub.error = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(DiskFull, match="no room to download someone/policy"):
        fetch("someone/policy", ())


def test_without_the_hubs_client_the_error_names_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(FileMissing, match="pip install huggingface_hub"):
        fetch("someone/policy", ())


def test_json_is_read(tmp_path):
    (tmp_path / "config.json").write_text('{"type": "ünïcode"}', encoding="utf-8")
    assert read_json(tmp_path, "config.json") == {"type": "ünïcode"}


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b"[1]", b""])
def test_what_is_no_json_object_is_refused(tmp_path, content):
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(CorruptFile, match=r"config\.json is not (a )?JSON"):
        read_json(tmp_path, "config.json")


def test_a_missing_file_lists_what_is_there(tmp_path):
    with pytest.raises(FileMissing, match="there is: nothing"):
        read_json(tmp_path, "config.json")
    (tmp_path / "params.json").touch()
    with pytest.raises(FileMissing, match=r"has no config\.json \(there is: params\.json\)"):
        read_json(tmp_path, "config.json")


def assert_same(one, other):
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_tensors_are_read_from_one_file(tmp_path, tensors):
    save_file(tensors, tmp_path / WEIGHTS)
    assert_same(read_tensors(tmp_path), tensors)


def sharded(folder, tensors, n=2):
    """Write every n-th tensor into one shard, and the index."""
    shards = [f"model-{i + 1:05}-of-{n:05}.safetensors" for i in range(n)]
    places = {name: shards[i % n] for i, name in enumerate(tensors)}
    for shard in shards:
        save_file({k: v for k, v in tensors.items() if places[k] == shard}, folder / shard)
    (folder / f"{WEIGHTS}.index.json").write_text(json.dumps({"weight_map": places}))
    return shards


def test_tensors_are_read_from_shards(tmp_path, tensors):
    sharded(tmp_path, tensors)
    assert_same(read_tensors(tmp_path), tensors)


def test_a_missing_shard_is_named(tmp_path, tensors):
    shards = sharded(tmp_path, tensors)
    (tmp_path / shards[1]).unlink()
    with pytest.raises(FileMissing, match=f"lacks {shards[1]}, which {WEIGHTS}.index.json names"):
        read_tensors(tmp_path)


@pytest.mark.parametrize("index", [{}, {"weight_map": []}, {"weight_map": {"a": 1}}])
def test_an_index_without_files_is_refused(tmp_path, index):
    (tmp_path / f"{WEIGHTS}.index.json").write_text(json.dumps(index))
    with pytest.raises(CorruptFile, match="no weight_map of file names"):
        read_tensors(tmp_path)


@pytest.mark.parametrize("kept", [0, 7, 100, -1])
def test_a_truncated_file_is_refused(tmp_path, tensors, kept):
    save_file(tensors, tmp_path / WEIGHTS)
    whole = (tmp_path / WEIGHTS).read_bytes()
    (tmp_path / WEIGHTS).write_bytes(whole[:kept])
    with pytest.raises(CorruptFile, match=r"truncated or not a safetensors.*download it again"):
        read_tensors(tmp_path)


def test_a_header_that_lies_is_refused(tmp_path):
    (tmp_path / WEIGHTS).write_bytes(struct.pack("<Q", 2**40) + b"{}")
    with pytest.raises(CorruptFile, match="truncated or not a safetensors"):
        read_tensors(tmp_path)


def test_a_pointer_of_git_lfs_says_how_to_get_the_weights(tmp_path):
    (tmp_path / WEIGHTS).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    with pytest.raises(CorruptFile, match="run `git lfs pull`"):
        read_tensors(tmp_path)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "policy.pth"])
def test_a_pickle_is_not_read(tmp_path, name):
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("the pickle was run",))

    torch.save({"a": Bomb()}, tmp_path / name)
    with pytest.raises(FileMissing, match=rf"pickle form only \({name}\).*convert it"):
        read_tensors(tmp_path)


def test_missing_weights_are_said_to_be_missing(tmp_path, tensors):
    with pytest.raises(FileMissing, match="the weights are missing"):
        read_tensors(tmp_path)
    save_file(tensors, tmp_path / "other.safetensors")
    with pytest.raises(FileMissing, match=r"the weights are missing \(there is other.safetensors"):
        read_tensors(tmp_path)
