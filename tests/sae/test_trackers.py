"""Where the numbers of a training go is chosen in its file, among what plugins bring."""

import json
import sys
from types import ModuleType
from typing import ClassVar

import pytest
import torch

from vlascope import plugins
from vlascope.errors import StudyFileError
from vlascope.hookspecs import hookimpl
from vlascope_sae.architectures.topk import TopKConfig
from vlascope_sae.training import TensorSource, Trainer, TrainingSpec
from vlascope_sae.training.file import load_training
from vlascope_sae.training.tracking import JsonLines, Trackers

FILE = """
store: acts
out: {out}
points: vlm.0.resid_post
saes: {{topk: {{architecture: topk, expansion: 2, k: 2}}}}
training: {{samples: 400, batch_size: 100, log_every: 100, device: cpu}}
"""


class Remembers:
    """A third party's tracker."""

    opened: ClassVar[list] = []

    def __init__(self, folder, *, project="none"):
        self.folder, self.project, self.told, self.ended = folder, project, [], 0
        Remembers.opened.append(self)

    def resume(self, samples):
        self.told.append(("resume", samples))

    def log(self, samples, sae, numbers):
        self.told.append((samples, sae, numbers["loss"]))

    def close(self):
        self.ended += 1


class Third:
    """The entry point of a plugin that brings it."""

    name, value, dist = "third", "third_party", None

    def load(self):
        module = ModuleType("third_party")

        @hookimpl
        def register_trackers(register):
            register("remembers", "third_party:Remembers", summary="keeps everything in mind")

        module.register_trackers, module.Remembers = register_trackers, Remembers
        sys.modules["third_party"] = module
        return module


@pytest.fixture
def third_party(monkeypatch):
    """A plugin that brings the tracker `remembers`."""
    own = plugins._entry_points()
    monkeypatch.setattr(plugins, "_entry_points", lambda: [*own, Third()])
    plugins.reload()
    Remembers.opened.clear()
    yield
    plugins.reload()
    sys.modules.pop("third_party", None)


def planned(tmp_path, *overrides):
    file = tmp_path / "sae.yaml"
    file.write_text(FILE.format(out=tmp_path / "saes"))
    return load_training(file, overrides)


def trained(tracker):
    rows = torch.randn(500, 6, generator=torch.Generator().manual_seed(0))
    spec = TrainingSpec(samples=400, batch_size=100, log_every=100, device="cpu")
    saes = {"a": TopKConfig(d_in=6, d_sae=12, k=2)}
    Trainer([(TensorSource(rows, name="rows"), saes)], spec, tracker=tracker).run()


def test_json_lines_are_kept_where_a_file_says_nothing(tmp_path):
    tracker = planned(tmp_path).tracker()
    assert isinstance(tracker, JsonLines)
    assert tracker.path == tmp_path / "saes" / "metrics.jsonl"


def test_a_plugins_tracker_is_told_every_measurement_and_closed(third_party, tmp_path):
    assert plugins.trackers()["remembers"].plugin == "third"
    tracker = planned(tmp_path, "tracker={kind: remembers, project: p}").tracker()
    assert tracker is Remembers.opened[0]
    assert (tracker.folder, tracker.project) == (tmp_path / "saes", "p")
    trained(tracker)
    assert tracker.told[0] == ("resume", 0)
    assert [told[0] for told in tracker.told[1:]] == [100, 200, 300, 400]
    assert tracker.ended == 1


def test_several_trackers_are_told_the_same(third_party, tmp_path):
    tracker = planned(tmp_path, "tracker=[jsonl, remembers]").tracker()
    assert isinstance(tracker, Trackers)
    trained(tracker)
    lines = (tmp_path / "saes" / "metrics.jsonl").read_text().splitlines()
    written = [(line["samples"], line["sae"], line["loss"]) for line in map(json.loads, lines)]
    assert written == Remembers.opened[0].told[1:]
    assert len(written) == 4


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("tracker=jsonll", "did you mean 'jsonl'"),
        ("tracker={file: x}", "needs a `kind`"),
        ("tracker={kind: jsonl, flie: x}", "unexpected keyword argument 'flie'"),
    ],
)
def test_a_wrong_tracker_is_refused(tmp_path, change, says):
    with pytest.raises(StudyFileError, match=says):
        planned(tmp_path, change).tracker()
