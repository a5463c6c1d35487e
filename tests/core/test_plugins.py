"""Plugins: found without being imported; a broken one warns by name and the rest works."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from textwrap import dedent

import pytest

from vlascope import conformance, plugins
from vlascope.errors import UnknownName
from vlascope_adapters.toy.adapter import ToyAdapter

GOOD = """
    from vlascope.hookspecs import hookimpl

    @hookimpl
    def register_adapters(register):
        register("parrot", "parrot_plugin.heavy:Parrot", summary="repeats what it saw")
"""
CLASH = GOOD.replace('"parrot"', '"toy"')
MISSPELT = GOOD.replace("register_adapters", "register_adaptors")
RAISING = GOOD.replace(
    'register("parrot"', 'raise RuntimeError("out of seed")\n        register("parrot"'
)
IMPORT_ERROR = "import a_package_that_is_not_there"


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install a real distribution: a module, and dist-info with an entry point."""

    def installed(source, name="parrot", *, requires=()):
        (tmp_path / f"{name}_plugin.py").write_text(dedent(source))
        info = tmp_path / f"{name}_plugin-1.0.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}-plugin\nVersion: 1.0\n" + "\n".join(requires)
        )
        (info / "entry_points.txt").write_text(f"[vlascope]\n{name} = {name}_plugin\n")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        monkeypatch.syspath_prepend(tmp_path)
        plugins.reload()

    yield installed
    sys.modules.pop("parrot_plugin", None)
    monkeypatch.undo()
    plugins.reload()


def test_a_plugin_is_listed_without_its_target(install):
    install(GOOD)
    entry = plugins.adapters()["parrot"]
    assert (entry.plugin, entry.summary) == ("parrot", "repeats what it saw")
    assert "parrot_plugin.heavy" not in sys.modules


def test_a_target_that_does_not_import_names_its_plugin(install):
    install(GOOD)
    with pytest.raises(
        ImportError, match=r"plugin 'parrot' points at 'parrot_plugin.heavy:Parrot'"
    ):
        plugins.adapter_class("parrot")


EXTRAS = (
    "Provides-Extra: all",
    "Provides-Extra: seeing",
    "Provides-Extra: talking",
    "Requires-Dist: no_such_beak",
    "Requires-Dist: no-such-voice[deep]==0.6; extra == 'talking'",
    "Requires-Dist: no-such-voice[deep]==0.6; extra == 'all'",
    "Requires-Dist: no-such-voice-box; extra == 'seeing'",
    'Requires-Dist: no_such_eye>=1,<2; python_version >= "3" and extra == "seeing"',
    "Requires-Dist: no_such_eye; extra == 'talking'",
    "Requires-Dist: no_such_tail; extra == 'all'",
)
MISSING = {
    "no_such_voice.deep": "`pip install 'parrot-plugin[talking]'`",
    "no_such_voice_box": "`pip install 'parrot-plugin[seeing]'`",
    "no_such_eye": "`pip install 'parrot-plugin[seeing]' or 'parrot-plugin[talking]'`",
    "no_such_tail": "`pip install 'parrot-plugin[all]'`",
    "no_such_beak": None,
    "no_such_claw": None,
}


@pytest.mark.parametrize(("module", "remedy"), MISSING.items(), ids=MISSING)
def test_a_target_that_needs_an_extra_names_it(install, tmp_path, module, remedy):
    install(GOOD.replace("parrot_plugin.heavy", "parrot_heavy"), requires=EXTRAS)
    (tmp_path / "parrot_heavy.py").write_text(f"import {module}\n")
    with pytest.raises(ImportError, match=f"No module named '{module.split('.')[0]}'") as caught:
        plugins.adapter_class("parrot")
    said = str(caught.value)
    assert (f"; install it with {remedy}" in said) if remedy else ("pip install" not in said)


def test_the_extra_of_the_plugins_own_name_is_named_first(install, tmp_path):
    """Also where another package is missed first than the one that the extra names."""
    install(GOOD.replace("parrot_plugin.heavy", "parrot_heavy"), requires=(
        "Provides-Extra: parrot", "Requires-Dist: no-such-voice; extra == 'parrot'",
        "Provides-Extra: other", "Requires-Dist: no-such-wing; extra == 'other'",
    ))  # fmt: skip
    (tmp_path / "parrot_heavy.py").write_text("import no_such_wing\n")
    with pytest.raises(
        ImportError, match=r"install it with `pip install 'parrot-plugin\[parrot\]'"
    ):
        plugins.adapter_class("parrot")


def test_a_plugin_that_misses_a_module_of_its_own_is_no_matter_of_extras(install):
    install(GOOD, requires=("Provides-Extra: parrot",))
    with pytest.raises(ImportError, match=r"parrot_plugin") as caught:
        plugins.adapter_class("parrot")
    assert "pip install" not in str(caught.value)


BROKEN = {
    "import error": (IMPORT_ERROR, "a_package_that_is_not_there"),
    "misspelt hook": (MISSPELT, "register_adaptors"),
    "raising hook": (RAISING, "out of seed"),
}


@pytest.mark.parametrize(("source", "why"), BROKEN.values(), ids=BROKEN)
def test_a_broken_plugin_warns_by_name_and_the_rest_works(install, source, why):
    install(source)
    with pytest.warns(plugins.PluginWarning, match=f"(?s)plugin 'parrot'.*{why}.*VLASCOPE_BLOCK"):
        found = plugins.registry()
    assert "toy" in found["adapters"]
    assert "parrot" not in found["adapters"]


def test_a_name_clash_is_reported_and_the_first_keeps_the_name(install):
    install(CLASH)
    with pytest.warns(plugins.PluginWarning, match=r"'parrot'.*'toy_adapter'.*keeping 'parrot'"):
        assert plugins.adapters()["toy"].plugin == "parrot"


def test_the_environment_blocks_a_plugin(install, monkeypatch):
    monkeypatch.setenv(plugins.BLOCK_VARIABLE, "other, parrot")
    install(IMPORT_ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "toy" in plugins.adapters()


def test_first_party_plugins_come_through_the_same_door():
    assert plugins.adapters()["toy"].plugin == "toy_adapter"
    assert plugins.interventions()["inject"].plugin == "builtin"


@pytest.mark.parametrize("kind", ["adapters", "benchmarks", "interventions"])
def test_everything_registered_resolves_to_its_name_or_names_its_extra(kind):
    for name in plugins.registry()[kind]:
        found = resolved(kind, name)
        if isinstance(found, str):
            assert "install it with `pip install 'vlascope[" in found
        else:
            assert name in (getattr(found, "name", None), getattr(found, "kind", None))


def resolved(kind, name):
    try:
        return plugins.load(kind, name)
    except ImportError as error:
        return str(error)


def test_an_unknown_name_lists_near_matches():
    with pytest.raises(UnknownName, match="did you mean 'toy'"):
        plugins.adapter_class("toyy")


def test_listing_imports_no_torch():
    code = "import sys, vlascope.plugins as p; p.registry(); sys.exit('torch' in sys.modules)"
    environment = {**os.environ, "PYTHONWARNINGS": "error"}
    assert (
        subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0
    )


def test_a_plugin_that_imports_a_simulator_when_listed_fails_its_check(install, tmp_path):
    (tmp_path / "mujoco.py").write_text("")
    install("import mujoco" + dedent(GOOD))
    (result,) = conformance.check_adapter(ToyAdapter, only=["listing*"])
    assert result.status == "fail"
    assert "mujoco" in result.message
    assert "import string" in result.message
