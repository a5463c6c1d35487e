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


def planned(file, change):
    """Everything that is looked at before training."""
    plan = load_training(file, [change])
    return plan.sites(), plan.training_of("topk")


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
        (
            "saes.topk.training={banana: 1}",
            StudyFileError,
            "banana: no setting of an SAE's optimiser",
        ),
        ("saes.topk.training={lr: -1}", StudyFileError, "saes.topk.training.lr"),
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
        planned(written, change)
    assert says in str(raised.value)
    if error is StudyFileError:
        assert "--set" in str(raised.value) or "sae.yaml" in str(raised.value)


def test_presets_bring_their_papers_optimiser_where_the_file_is_silent(written, tmp_path):
    text = written.read_text().replace("  lr: 0.003\n", "").replace("  batch_size: 100\n", "")
    written.write_text(text)
    both = ["saes={drvla: {preset: DrVLA, k: 3}, atlas: {preset: ActionAtlas, k: 3}}"]
    plan = load_training(written, both)
    drvla, atlas = plan.training_of("drvla"), plan.training_of("atlas")
    assert (drvla.lr, drvla.warmup, drvla.clip, drvla.schedule) == (1e-4, 0.1, 1.0, "constant")
    assert (atlas.lr, atlas.warmup, atlas.clip, atlas.batch_size) == (3e-4, 0.0, None, 4096)
    assert "lr 0.0001 (constant, 10% warm-up)" in sae("train", written, "--dry-run", *both).output

    more = [*both, "training.batch_size=100", "training.lr=1e-3", "saes.atlas.training={clip: 2}"]
    plan = load_training(written, more)
    assert (plan.training_of("drvla").lr, plan.training_of("drvla").warmup) == (1e-3, 0.1)
    assert (plan.training_of("atlas").lr, plan.training_of("atlas").clip) == (1e-3, 2.0)
    assert plan.sites()[0][1]["drvla"].dead_after == 500 * 100  # steps, as the paper counts
    given = [*more, "saes.drvla.learning_rate=2e-4"]
    assert load_training(written, given).training_of("drvla").lr == 2e-4

    assert sae("train", written, "--quiet", *more).exit_code == 0
    results = json.loads((tmp_path / "saes" / "results.json").read_text())
    assert results[f"{POINTS[0]}/atlas"]["optimiser"]["clip"] == 2.0
    with pytest.raises(IncompatibleError, match="training of atlas"):
        load_training(written, [*more, "saes.atlas.training.clip=1"]).trainer().run()


def test_without_a_learning_rate_each_width_gets_its_own(written):
    written.write_text(written.read_text().replace("  lr: 0.003\n", ""))
    plan = load_training(written, ["saes.wide={architecture: topk, d_sae: 16384, k: 4}"])
    assert plan.training_of("wide").settled(16384).lr == pytest.approx(2e-4)
    assert plan.training_of("topk").settled(4096).lr == pytest.approx(4e-4)


def test_a_complaint_points_at_the_line_of_the_file(written):
    written.write_text(written.read_text().replace("k: 4", "k: 400"))
    with pytest.raises(StudyFileError, match=r"sae\.yaml:\d+:\d+: saes\.topk: k = 400"):
        load_training(written).sites()


def test_help_shows_examples_and_imports_no_torch():
    shown = sae("train", "--help").output
    assert "vlascope sae train sae.yaml" in shown
    code = "import sys; import vlascope_sae.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
