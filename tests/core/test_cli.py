"""The command line: cheap to list, one clear message where something is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from vlascope import __version__, plugins
from vlascope.cli import main
from vlascope.cli.root import COMMANDS

HEAVY = ("torch", "mujoco", "lerobot", "transformers", "metaworld")


@pytest.fixture
def vlascope(capsys, monkeypatch):
    """Run the command; give (exit code, stdout, stderr)."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments):
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        said = capsys.readouterr()
        return stopped.value.code or 0, said.out, said.err

    return run


@pytest.mark.parametrize(
    "arguments",
    [
        ["list"],
        ["list", "tasks", "toy"],
        ["--help"],
        ["--version"],
        ["describe", "--help"],
        ["new-adapter", "--help"],
    ],
)
def test_listing_answers_without_heavy_packages(arguments):
    code = f"""
        import sys
        from vlascope.cli import main
        try:
            main({arguments!r})
        except SystemExit as stopped:
            assert not stopped.code, stopped.code
        print("LOADED", [name for name in {HEAVY!r} if name in sys.modules])
    """
    command = [sys.executable, "-W", "error", "-c", dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "LOADED []" in done.stdout


def test_version(vlascope):
    assert vlascope("--version") == (0, f"vlascope {__version__}\n", "")


def test_list_shows_what_is_registered(vlascope):
    code, out, _ = vlascope("list")
    assert code == 0
    assert all(word in out for word in ("adapters", "toy", "metaworld", "zero_ablate"))


def test_list_as_json_is_what_the_registry_holds(vlascope):
    _, out, _ = vlascope("list", "adapters", "--json")
    assert {entry["name"] for entry in json.loads(out)["adapters"]} == set(plugins.adapters())


def test_list_tasks(vlascope):
    _, out, _ = vlascope("list", "tasks", "toy", "--json")
    assert next(t["name"] for t in json.loads(out)["toy"]["shared"]) == "shared/red"


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["chek", "toy"], "check"),
        (["list", "adaptors"], "adapters"),
        (["list", "tasks", "metaword"], "metaworld"),
        (["check", "toyy"], "toy"),
        (["check", "toy", "--only", "patching_is_exakt"], "patching_is_exact"),
    ],
)
def test_an_unknown_name_is_one_clear_message(vlascope, arguments, hint):
    code, _, err = vlascope(*arguments)
    assert code == 2
    assert f"did you mean {hint!r}" in err
    assert "Traceback" not in err


def test_debug_shows_the_traceback(monkeypatch):
    monkeypatch.setenv("VLASCOPE_DEBUG", "")
    with pytest.raises(KeyError, match="toyy"):
        main(["--debug", "check", "toyy"])


def test_check_passes_on_the_toy(vlascope):
    code, out, _ = vlascope("check", "toy", "--only", "names*", "--only", "chunk*")
    assert code == 0
    assert "2 of 2 promises kept" in out


def test_check_as_json(vlascope):
    _, out, _ = vlascope("check", "toy", "--benchmark", "--only", "close_twice", "--json")
    (result,) = json.loads(out)
    assert (result["code"], result["status"]) == ("close_twice", "pass")


def test_check_fails_with_exit_code_one(vlascope, monkeypatch):
    from vlascope_adapters.toy.adapter import ToyAdapter

    monkeypatch.setattr(ToyAdapter, "token_spans", lambda *_args, **_kwargs: {})
    code, out, _ = vlascope("check", "toy", "--only", "token_spans*")
    assert code == 1
    assert "FAIL" in out
    assert "return one TokenSpans per row" in out


def test_check_says_when_a_name_is_of_the_other_kind(vlascope):
    code, _, err = vlascope("check", "metaworld")
    assert code == 2
    assert "--benchmark" in err


def test_check_names_the_extra_that_an_adapter_needs(vlascope, monkeypatch, tmp_path):
    (tmp_path / "needs_an_extra.py").write_text("import metaworld_that_is_not_there\n")
    monkeypatch.syspath_prepend(tmp_path)
    entry = plugins.Registered("far", "needs_an_extra:Far", "metaworld", "", "vlascope")
    found = {**plugins.registry(), "adapters": {"far": entry}}
    monkeypatch.setattr(plugins, "registry", lambda: found)
    code, out, err = vlascope("check", "far")
    assert (code, out) == (2, "")
    assert err.startswith("error: adapter 'far' of plugin 'metaworld'")
    assert "install it with `pip install 'vlascope[metaworld]'`" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_is_documented(command):
    page = (Path(__file__).resolve().parents[2] / "docs" / "commands.md").read_text()
    assert f"| `{command}` |" in page


@pytest.mark.parametrize("command", ["list", "check", "describe", "new-adapter"])
def test_help_has_examples(vlascope, command):
    code, out, _ = vlascope(command, "--help")
    assert code == 0
    assert "Examples:" in out


@pytest.fixture
def plugin_command(monkeypatch):
    """Register a command as a plugin would."""

    def registered(target):
        entry = plugins.Registered("sing", target, "parrot", "sings")
        monkeypatch.setattr(plugins, "commands", lambda: {"sing": entry})
        found = {**plugins.registry(), "commands": {"sing": entry}}
        monkeypatch.setattr(plugins, "registry", lambda: found)

    return registered


def test_a_plugin_command_is_listed_and_mounted(vlascope, plugin_command, tmp_path, monkeypatch):
    (tmp_path / "singing.py").write_text(
        "import typer\napp = typer.Typer()\n"
        "@app.command()\ndef sing(tune: str): print('la', tune)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    plugin_command("singing:app")
    assert "sings" in vlascope("--help")[1]
    assert "singing" not in sys.modules
    assert vlascope("sing", "do")[1] == "la do\n"


def test_a_broken_plugin_command_names_its_plugin(vlascope, plugin_command):
    plugin_command("not_there:app")
    assert "sings" in vlascope("--help")[1]
    code, _, err = vlascope("sing")
    assert code == 2
    assert "plugin 'parrot'" in err


def test_errors_keep_their_square_brackets(vlascope, monkeypatch):
    from vlascope.errors import IncompatibleError

    def refuse(_name):
        raise IncompatibleError("[action-dim] 4 is not 7")

    monkeypatch.setattr(plugins, "adapter_class", refuse)
    assert "[action-dim] 4 is not 7" in vlascope("check", "toy")[2]
