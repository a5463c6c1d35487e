"""The adapter that `vlascope new-adapter` writes works as it is, checked in and installed."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from safetensors.torch import save_file

from vlascope import conformance
from vlascope.cli.new_adapter import write_adapter
from vlascope.errors import CorruptFile
from vlascope_benchmarks.toy.env import ToyBenchmark

ROOT = Path(__file__).resolve().parents[2]
NAME = "kea_bird"


@pytest.fixture(scope="module")
def adapter_class(tmp_path_factory):
    """The adapter of a package that was just written."""
    folder = tmp_path_factory.mktemp("kea")
    write_adapter(NAME, folder)
    sys.path.insert(0, str(folder))
    yield import_module(f"vlascope_{NAME}.adapter").KeaBirdAdapter
    sys.path.remove(str(folder))
    for module in [name for name in sys.modules if name.startswith(f"vlascope_{NAME}")]:
        del sys.modules[module]


@pytest.mark.parametrize("check", conformance.ADAPTER_CHECKS, ids=lambda check: check.code)
def test_it_keeps_every_promise(adapter_class, check):
    (result,) = conformance.check_adapter(adapter_class, only=[check.code])
    assert result.status == "pass", result.message


def test_its_numbers_mean_what_the_toy_benchmarks_do(adapter_class):
    from vlascope import check_compatible

    check_compatible(adapter_class.tiny().info, ToyBenchmark().info)


def test_a_checkpoint_of_it_loads_back(adapter_class, tmp_path):
    tiny = adapter_class.tiny(3)
    save_file(tiny.model.state_dict(), tmp_path / "model.safetensors")
    loaded = adapter_class.from_pretrained(str(tmp_path))
    assert loaded.info.checkpoint_hash == tiny.info.checkpoint_hash
    seen = [tiny.example_observation()]
    assert (loaded.infer(seen).actions == tiny.infer(seen).actions).all()


def test_half_a_checkpoint_of_it_is_refused(adapter_class, tmp_path):
    state = adapter_class.tiny().model.state_dict()
    del state["action_head.bias"]
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(CorruptFile, match=r"1 missing \(action_head.bias\)"):
        adapter_class.from_pretrained(str(tmp_path))


def test_it_runs_in_half_precision(adapter_class):
    policy = adapter_class.tiny()
    policy.model.to(torch.bfloat16)
    assert policy.infer([policy.example_observation()]).actions.dtype == "float32"


class Installed(NamedTuple):
    """A fresh environment with a wheel of vlascope, and the package written by it there."""

    python: Path
    package: Path

    def run(self, *command: str, inside: Path | None = None) -> str:
        """What a command of the environment prints; it has to succeed."""
        done = subprocess.run(
            [str(self.python.parent / command[0]), *command[1:]],
            cwd=inside or self.package.parent,
            env=clean_environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def clean_environment() -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return {**kept, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The wheel, what it depends on from here (so that nothing is downloaded), the package."""
    folder = tmp_path_factory.mktemp("fresh")
    wheels = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(wheels, cwd=ROOT, check=True, capture_output=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    fresh = Installed(folder / "venv" / "bin" / "python", folder / f"vlascope-{NAME}")
    site = fresh.run("python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))")
    here = sysconfig.get_path("purelib")  # its .pth files, such as an editable vlascope, stay out
    (Path(site.strip()) / "dependencies.pth").write_text(f"{here}\n")
    install(fresh, next(folder.glob("*.whl")))
    where = fresh.run("python", "-c", "import vlascope; print(vlascope.__file__)")
    assert where.startswith(str(folder)), "the wheel is not what is imported"
    fresh.run("vlascope", "new-adapter", NAME, "--path", str(fresh.package))
    install(fresh, fresh.package)
    return fresh


def install(fresh: Installed, what: Path) -> None:
    uv = [str(ROOT / "tools" / "uv.sh"), "pip", "install", "--quiet", "--offline", "--no-deps"]
    command = [*uv, "--no-build-isolation", "--python", str(fresh.python), str(what)]
    done = subprocess.run(
        command, cwd=what.parent, env=clean_environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_installed_it_is_listed_beside_the_others(installed):
    listed = installed.run("vlascope", "list", "adapters")
    assert f"a policy of mine  [{NAME}]" in listed
    assert "toy" in listed


@pytest.mark.slow
def test_installed_it_is_described(installed):
    assert "expert.action_head" in installed.run("vlascope", "describe", NAME)


@pytest.mark.slow
def test_installed_its_own_tests_pass(installed):
    said = installed.run("python", "-m", "pytest", "-q", inside=installed.package)
    assert f"{len(conformance.ADAPTER_CHECKS)} passed" in said


@pytest.mark.slow
def test_installed_it_is_checked(installed):
    kept = len(conformance.ADAPTER_CHECKS)
    assert f"{kept} of {kept} promises kept" in installed.run("vlascope", "check", NAME)


STUDY = f"""
name: kea
title: A policy of one's own, looked into
about: Which pathway carries the instruction?
policies:
  kea: {{adapter: {NAME}, checkpoint: tiny}}
benchmark: {{name: toy}}
tasks: [shared/red, shared/green]
seeds: 0-1
max_steps: 6
workers: 1
pairings:
  other: {{shared/red: shared/green, shared/green: shared/red}}
arms:
  baseline: {{about: its own prompt}}
  wrong_prompt: {{about: the other prompt, prompt: {{task: other}}}}
  vlm:
    about: what the other prompt left in the vlm
    interventions:
      - {{kind: inject, at: vlm.1.resid_post, source: {{arm: baseline, task: other}}}}
    controls:
      {{identity: auto, random_direction: auto, no_injection: baseline, cross_prompt: wrong_prompt}}
findings:
  pathway: {{question: "What moves the robot?", metric: displacement, arms: [vlm]}}
"""


@pytest.mark.slow
def test_installed_it_is_studied(installed):
    (installed.package.parent / "study.yaml").write_text(STUDY)
    said = installed.run("vlascope", "study", "run", "study.yaml", "--out", "runs", "--quiet")
    assert "every arm finished" in said
    installed.run("vlascope", "report", "runs")
    report = (installed.package.parent / "runs" / "report.md").read_text()
    assert "vlm.random_direction" in report
