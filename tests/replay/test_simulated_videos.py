"""A physics simulator's episodes are filmed afterwards, from another camera and larger."""

import numpy as np
import pytest

from vlascope import load, plugins
from vlascope.records import EpisodePlan
from vlascope.replay import film_run
from vlascope.replay.view import View
from vlascope.rollout import BenchmarkSpec, Film, run_episodes

av = pytest.importorskip("av")
pytest.importorskip("metaworld")

pytestmark = [pytest.mark.sim, pytest.mark.slow]


def frames_of(path):
    with av.open(str(path)) as container:
        return np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)])


def test_metaworld_filmed_afterwards_is_metaworld_filmed_live(tmp_path):
    """The same bytes as the video made while it was played; and a view that nobody had then."""
    (record,) = run_episodes(
        load("tinyvla", "bundled"),
        BenchmarkSpec(name="metaworld"),
        [EpisodePlan(arm="base", task="door-open", seed=3, max_steps=32)],
        tmp_path / "run",
        film=Film(frames=0, video=True),
        workers=1,
        envs_per_worker=1,
        progress=False,
    )
    (again,) = film_run(tmp_path / "run", progress=False)
    assert record.video is not None
    assert again.read_bytes() == (tmp_path / "run" / record.video).read_bytes()

    view = View(camera="topview", size=320)
    (other,) = film_run(tmp_path / "run", view=view, progress=False)
    pictures = frames_of(other)
    assert pictures.shape == (9, 320, 320, 3)
    env = plugins.benchmark_class("metaworld")(camera="topview", size=320)
    first = env.reset("door-open", seed=3).images["topview"]
    env.close()
    assert np.abs(pictures[0].astype(int) - first).mean() < 6
