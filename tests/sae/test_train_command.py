"""`vlascope sae train` and `eval`: one file, one pass, every hook point and configuration."""

import json
import subprocess
import sys

import pytest
import torch
import yaml
from typer.testing import CliRunner

from vlascope.errors import FileMissing, IncompatibleError, StudyFileError, UnknownName
from vlascope.hooks import HookPoint, Moment, TokenSpans
from vlascope.recording import RecordSpec
from vlascope.store import ActivationStore, Entry, Provenance
from vlascope_sae.cli import app
from vlascope_sae.files import load_sae
from vlascope_sae.training.file import load_training

POINTS = [HookPoint("vlm", 0, "resid_post"), HookPoint("vlm", 1, "resid_post")]
SPANS = TokenSpans({"image.top": (0, 6), "state": (6, 8)})
TRAINING = {"samples": 3000, "batch_size": 100, "lr": 3e-3, "device": "cpu", "sample_rows": 500}


@pytest.fixture
def written(tmp_path):
    """A store of planted activations and a training file for it."""
    generator = torch.Generator().manual_seed(0)
    directions = torch.randn(24, 12, generator=generator)
    provenance = Provenance(
        adapter="toy", checkpoint="c", checkpoint_hash="0", spec=RecordSpec(at="*", calls=(0,))
    )
    store = ActivationStore.create(tmp_path / "acts", provenance)
    for e in range(10):
        fires = torch.rand(len(POINTS), 10, 8, 24, generator=generator) < 0.1
        values = fires.float() @ directions + 3
        rows = {
            point: [
                Entry(Moment(f"e{e}", k, k, 0), tuple(range(8)), SPANS, values[i, k])
                for k in range(10)
            ]
            for i, point in enumerate(POINTS)
        }
        store.write(f"e{e}", rows, {f"e{e}": {"task": "t"}})
    file = tmp_path / "sae.yaml"
    wanted = {
        "store": str(tmp_path / "acts"),
        "out": str(tmp_path / "saes"),
        "points": "vlm.*.resid_post",
        "rows": {"validation": 0.2, "spans": "image.*"},
        "saes": {"topk": {"architecture": "topk", "expansion": 2, "k": 4}},
        "training": TRAINING,
    }
    file.write_text(yaml.safe_dump(wanted, sort_keys=False))
    return file


def sae(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)


def test_training_writes_every_sae_with_where_it_comes_from(written, tmp_path):
    done = sae("train", written, "--quiet", "saes.drvla={preset: DrVLA, k: 3}")
    assert done.exit_code == 0, done.output
    assert len(done.output.strip().splitlines()) == 4
    for point in map(str, POINTS):
        trained = load_sae(tmp_path / "saes" / point / "topk")
        about = trained.provenance
        assert (about.hook_point, about.adapter, about.samples) == (point, "toy", 3000)
        assert (about.spans, about.pool, about.calls) == (("image.*",), "none", (0,))
        assert trained.sae.config.d_sae == 24
        assert load_sae(tmp_path / "saes" / point / "drvla").sae.config.normalise == "layer_norm"


def test_eval_finds_the_held_out_episodes_and_gives_what_training_gave(written, tmp_path):
    sae("train", written, "--quiet")
    results = json.loads((tmp_path / "saes" / "results.json").read_text())
    folder = tmp_path / "saes" / str(POINTS[1]) / "topk"
    shown = sae("eval", folder, "--json", "--save")
    found = json.loads(shown.output)
    fit = results[f"{POINTS[1]}/topk"]["fit"]
    assert found["rows"] == fit["rows"] == 2 * 10 * 6
    assert found["fvu"] == pytest.approx(fit["fvu"], rel=1e-9)
    assert found["l0"] == pytest.approx(fit["l0"])
    assert found["fvu"] < 0.9
    assert json.loads((folder / "reconstruction.json").read_text()) == found
    assert "120 held-out rows" in sae("eval", folder).output
    assert "30 held-out rows" in sae("eval", folder, "--rows", 30).output


def test_running_again_resumes_and_other_settings_are_refused(written):
    plan = load_training(written)
    assert plan.trainer().run(until=5) == {}
    trainer = plan.trainer()
    trainer.run()
    assert trainer.step == 30
    with pytest.raises(IncompatibleError, match="rows: "):
        load_training(written, ["rows.validation=0.5"]).trainer().run()


def test_a_dry_run_shows_the_plan_and_writes_nothing(written, tmp_path):
    shown = sae("train", written, "--dry-run", "saes.t={architecture: temporal, d_sae: 24, k: 4}")
    assert "vlm.0.resid_post: 480 rows to train on, 120 held out (2 episodes)" in shown.output
    assert "topk: topk, 12 -> 24 latents" in shown.output
    assert "vlm.1.resid_post-pairs: 432 rows" in shown.output
    assert not (tmp_path / "saes").exists()


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ("points=vlm.7.resid_post", UnknownName, "vlm.{0..1}.resid_post"),
        ("store=nowhere", FileMissing, "no activation store"),
        ("saes.topk.k=25", StudyFileError, "k = 25 of d_sae = 24"),
        ("saes.topk.banana=1", StudyFileError, "saes.topk.banana: Extra inputs"),
        ("saes.topk.architecture=topkk", UnknownName, "did you mean 'topk'"),
        ("saes.topk.preset=DrVLA", StudyFileError, "one of the two"),
        ("training.lr=-1", StudyFileError, "training.lr"),
        ("rows.pool=sum", StudyFileError, "rows.pool"),
        ("training.patience=2", StudyFileError, "set validate_every"),
        ("target=vlm.1.resid_post", None, ""),
    ],
)
def test_a_wrong_file_is_refused_before_training_with_where_and_why(written, change, error, says):
    if error is None:
        sites = load_training(written, [change, "points=vlm.0.resid_post"]).sites()
        assert sites[0][1]["topk"].d_out == 12
        return
    with pytest.raises(error) as raised:
        load_training(written, [change]).sites()
    assert says in str(raised.value)
    if error is StudyFileError:
        assert "--set" in str(raised.value) or "sae.yaml" in str(raised.value)


def test_a_complaint_points_at_the_line_of_the_file(written):
    written.write_text(written.read_text().replace("k: 4", "k: 400"))
    with pytest.raises(StudyFileError, match=r"sae\.yaml:\d+:\d+: saes\.topk: k = 400"):
        load_training(written).sites()


def test_help_shows_examples_and_imports_no_torch():
    shown = sae("train", "--help").output
    assert "vlascope sae train sae.yaml" in shown
    code = "import sys; import vlascope_sae.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
