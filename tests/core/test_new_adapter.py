"""`vlascope new-adapter` writes a package under a good name, into a folder that is free."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from vlascope.cli import main, new_adapter
from vlascope.cli.new_adapter import write_adapter
from vlascope.errors import AlreadyThere, FileMissing, InvalidName

TEMPLATE = Path(__file__).resolve().parents[2] / "adapters" / "template"
FILES = {"pyproject.toml", "vlascope_kea_bird/__init__.py", "vlascope_kea_bird/adapter.py"}
FILES |= {"tests/test_conformance.py"}


@pytest.fixture
def typed(capsys, monkeypatch, tmp_path):
    """Run the command in an empty folder; give (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments):
        with pytest.raises(SystemExit) as stopped:
            main(["new-adapter", *arguments])
        said = capsys.readouterr()
        return stopped.value.code or 0, said.out, said.err

    return run


def test_four_files_are_written(tmp_path):
    written = write_adapter("kea_bird", tmp_path / "kea")
    assert {str(file.relative_to(tmp_path / "kea")) for file in written} == FILES
    assert {str(f.relative_to(tmp_path / "kea")) for f in tmp_path.rglob("*.*")} == FILES


def test_everything_is_renamed(tmp_path):
    for file in write_adapter("kea_bird", tmp_path):
        text = file.read_text()
        assert not any(left in text for left in ("my_policy", "my-policy", "MyPolicy"))
        if file.suffix == ".py":
            compile(text, str(file), "exec")
    adapter = (tmp_path / "vlascope_kea_bird" / "adapter.py").read_text()
    assert "class KeaBirdAdapter(VLAAdapter):" in adapter


def test_the_project_registers_its_name(tmp_path):
    write_adapter("kea_bird", tmp_path)
    project = tomllib.loads((tmp_path / "pyproject.toml").read_text())
    assert project["project"]["name"] == "vlascope-kea-bird"
    assert project["project"]["entry-points"]["vlascope"] == {"kea_bird": "vlascope_kea_bird"}
    assert project["tool"]["pytest"]["ini_options"]["addopts"] == "--vlascope-adapter kea_bird"


ORIGINS = {
    '{"url": "file:///a%20b", "dir_info": {"editable": true}}': {"path": "/a b", "editable": True},
    '{"url": "file:///vlascope.whl", "archive_info": {}}': None,
    None: None,
}


@pytest.mark.parametrize(("origin", "source"), ORIGINS.items(), ids=["folder", "wheel", "index"])
def test_uv_is_told_of_a_vlascope_that_no_index_has(tmp_path, monkeypatch, origin, source):
    class Installed:
        def read_text(self, name):
            return origin

    monkeypatch.setattr(new_adapter, "distribution", lambda _: Installed())
    write_adapter("kea_bird", tmp_path)
    tools = tomllib.loads((tmp_path / "pyproject.toml").read_text())["tool"]
    assert tools.get("uv", {}).get("sources", {}).get("vlascope") == source


def test_the_command_says_what_to_do_next(typed, tmp_path):
    code, out, _ = typed("kea_bird")
    assert code == 0
    assert (tmp_path / "vlascope-kea-bird" / "pyproject.toml").is_file()
    assert "cd vlascope-kea-bird\n" in out
    assert "vlascope check kea_bird\n" in out


def test_the_folder_can_be_chosen(typed, tmp_path):
    assert typed("kea", "--path", "deep/down/kea")[0] == 0
    assert (tmp_path / "deep/down/kea/vlascope_kea/adapter.py").is_file()


BAD = {
    "Kea-Bird": "lower-case Python identifier, for example 'kea_bird'",
    "9lives": "lower-case Python identifier",
    "class": "lower-case Python identifier",
    "kea_": "for example 'kea'",
    "../kea": "for example 'kea'",
    "": "lower-case Python identifier",
    "toy": "is taken: an adapter of vlascope",
    "adapters": "a package vlascope_adapters is installed already",
}


@pytest.mark.parametrize(("name", "why"), BAD.items(), ids=[name or "empty" for name in BAD])
def test_a_bad_name_is_refused_and_nothing_is_written(typed, tmp_path, name, why):
    code, _, err = typed("--path", "out", "--", name)
    assert code == 2
    assert why in err
    assert list(tmp_path.iterdir()) == []


def test_the_error_for_a_bad_name_is_a_value_error(tmp_path):
    with pytest.raises(InvalidName) as caught:
        write_adapter("Kea", tmp_path)
    assert isinstance(caught.value, ValueError)


def test_a_folder_that_holds_something_is_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    for folder in (tmp_path, tmp_path / "notes.txt"):
        with pytest.raises(AlreadyThere, match="give another folder with --path"):
            write_adapter("kea", folder)
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 1


def test_an_empty_folder_is_filled(tmp_path):
    assert len(write_adapter("kea", tmp_path)) == 4


def test_a_folder_that_cannot_be_written_is_one_message(typed, tmp_path):
    (tmp_path / "file").touch()
    code, _, err = typed("kea", "--path", "file/kea")
    assert code == 2
    assert "file/kea cannot be written" in err


def test_what_lies_about_in_the_template_is_left_out(tmp_path, monkeypatch):
    write_adapter("my_policy", tmp_path / "template")
    cache = tmp_path / "template" / "vlascope_my_policy" / "__pycache__"
    cache.mkdir()
    (cache / "adapter.pyc").write_bytes(b"\xff")
    monkeypatch.setattr(new_adapter, "_template", lambda: tmp_path / "template")
    assert len(write_adapter("kea", tmp_path / "kea")) == 4


def test_an_installation_without_the_template_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(new_adapter, "__file__", str(tmp_path / "lib/vlascope/cli/new_adapter.py"))
    with pytest.raises(FileMissing, match="reinstall vlascope"):
        write_adapter("kea", tmp_path / "kea")
    assert not (tmp_path / "kea").exists()
