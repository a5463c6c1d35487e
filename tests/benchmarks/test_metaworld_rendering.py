"""Which OpenGL draws the pictures, and what is said when none does."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from vlascope import errors
from vlascope_benchmarks import mujoco_rendering
from vlascope_benchmarks.metaworld.env import MetaWorld


@pytest.fixture
def nothing_works(monkeypatch) -> None:
    monkeypatch.setattr(mujoco_rendering, "_egl_works", lambda: False)
    monkeypatch.setattr(mujoco_rendering, "_osmesa_works", lambda: False)


def test_egl_comes_before_osmesa(monkeypatch) -> None:
    monkeypatch.setattr(mujoco_rendering, "_egl_works", lambda: True)
    monkeypatch.setattr(mujoco_rendering, "_osmesa_works", lambda: True)
    environ: dict[str, str] = {}
    assert mujoco_rendering.choose_backend(environ) == environ["MUJOCO_GL"] == "egl"


def test_osmesa_is_the_second_choice(monkeypatch, nothing_works) -> None:
    monkeypatch.setattr(mujoco_rendering, "_osmesa_works", lambda: True)
    assert mujoco_rendering.choose_backend({}) == "osmesa"


def test_the_users_own_choice_is_kept(nothing_works) -> None:
    environ = {"MUJOCO_GL": "osmesa"}
    assert mujoco_rendering.choose_backend(environ) == "osmesa"
    assert environ == {"MUJOCO_GL": "osmesa"}


@pytest.mark.sim
def test_without_any_there_is_physics_but_no_picture() -> None:
    code = (
        "import vlascope_benchmarks.mujoco_rendering as r\n"
        "r._egl_works = r._osmesa_works = lambda: False\n"
        "from vlascope_benchmarks.metaworld.env import MetaWorld\n"
        "env = MetaWorld(); env.start(env.task('reach'), seed=0); env.step(env.expert())\n"
        "try: env.sense()\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    environ = {k: v for k, v in os.environ.items() if k not in ("MUJOCO_GL", "PYOPENGL_PLATFORM")}
    run = [sys.executable, "-c", code]
    said = subprocess.run(run, capture_output=True, text=True, check=True, env=environ).stdout
    assert said.startswith("NoRenderer")
    assert "libegl1" in said
    assert "libosmesa6" in said


@pytest.mark.sim
def test_a_context_that_does_not_start_names_the_packages(monkeypatch) -> None:
    env = MetaWorld()
    env.start(env.task("reach"), seed=0)

    def broken(backend: str) -> None:
        raise OSError("no libEGL")

    monkeypatch.setattr(mujoco_rendering, "_context_class", broken)
    with pytest.raises(errors.NoRenderer, match="apt-get install libegl1"):
        env.sense()
    env.close()
