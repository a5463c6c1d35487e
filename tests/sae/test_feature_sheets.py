"""The toy policy end to end: played, indexed, looked at, labelled and classified."""

import json
import re

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from vlascope.errors import IncompatibleError, UnknownName
from vlascope.hooks import HookPoint, Moment
from vlascope.recording import RecordSpec
from vlascope.records import EpisodePlan
from vlascope.rollout import BenchmarkSpec, Film, read_episodes, run_episodes
from vlascope.rollout.arrays import read_strip
from vlascope.store import ActivationStore
from vlascope_adapters.toy.adapter import ToyAdapter
from vlascope_sae.architectures.topk import TopK, TopKConfig
from vlascope_sae.cli.features import app
from vlascope_sae.features import FeatureIndex
from vlascope_sae.features.pictures import Heat, HeatMaps, Picture, StripFrames, overlaid
from vlascope_sae.features.sheet import contact_sheet, write_png
from vlascope_sae.features.trained import index_trained, indexed_sae
from vlascope_sae.files import save_sae
from vlascope_sae.provenance import Provenance, Trained

POINT = "vlm.1.resid_post"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Three filmed episodes of the toy, their activations, an autoencoder and its index."""
    folder = tmp_path_factory.mktemp("toy")
    toy = ToyAdapter.tiny()
    plans = [EpisodePlan(arm="base", task=t, seed=0, max_steps=12) for t in TASKS]
    spec = RecordSpec(at=POINT)
    run_episodes(
        toy,
        BenchmarkSpec(name="toy"),
        plans,
        folder / "run",
        record=spec,
        film=Film(frames=64),
        workers=1,
        progress=False,
    )
    width = toy.info.pathway("vlm").width
    sae = TopK(TopKConfig(d_in=width, d_sae=48, k=4, normalise="layer_norm", seed=1))
    about = Provenance(hook_point=POINT, checkpoint_hash=toy.info.checkpoint_hash)
    save_sae(folder / "sae", sae, about)
    invoke("index", folder / "sae", folder / "run/activations", "--out", folder / "index")
    return folder


TASKS = ["shared/red", "shared/green", "unique/blue"]


def invoke(*arguments):
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def as_json(*arguments):
    return json.loads(invoke(*arguments, "--json"))


def test_every_row_that_was_recorded_is_in_the_index(run):
    index = FeatureIndex.open(run / "index")
    store = ActivationStore.open(run / "run/activations")
    sae = indexed_sae(index)
    rows = store.read(POINT)
    z = sae.encode(rows.values)
    assert index.manifest.rows == len(rows)
    assert index.column("fired").tolist() == (z > 0).sum(0).tolist()
    np.testing.assert_allclose(index.column("max"), z.detach().amax(0), rtol=1e-5)
    assert {e.task for e in index.episodes} == set(TASKS)
    strongest = int(z.amax(0).argmax())
    at = int(z[:, strongest].argmax())
    top = index.top(strongest)[0]
    assert top.moment.episode == rows.episode_of()[at]
    assert (top.moment.step, top.token) == (rows.column("step")[at], rows.column("token")[at])
    assert top.span == rows.span_of()[at]


def test_top_lists_p_general_beside_the_firing_rate(run):
    found = as_json("top", run / "index", "--by", "firing_rate", "-n", 5)
    rates = [f["firing_rate"] for f in found]
    assert len(rates) == 5
    assert rates == sorted(rates, reverse=True)
    assert all(0 <= f["p_general"] <= 1 for f in found)
    assert re.search(r"feature +general +rate +max", invoke("top", run / "index"))
    with pytest.raises(UnknownName, match="firing_rate"):
        invoke("top", run / "index", "--by", "rate")


def test_show_writes_a_contact_sheet_as_a_picture_and_as_a_page(run, tmp_path):
    feature = as_json("top", run / "index")[0]["feature"]
    png, html = tmp_path / "sheet.png", tmp_path / "sheet.html"
    found = as_json("show", run / "index", feature, "--png", png, "--html", html)
    assert found["sheets"] == [str(png), str(html)]
    assert len(found["nearest_by_decoder_cosine"]) == 8
    assert {g["name"] for g in found["by_task"]} == set(TASKS)
    picture = np.asarray(Image.open(png))
    assert picture.shape[1] == 4 * (176 + 8) + 8
    page = html.read_text()
    assert page.count("data:image/png;base64,") == len(found["moments"][:12])
    assert "heat: image.top" in page
    assert not re.search(r"""(?:src|href)=["'](?!data:)""", page)
    assert "no picture was kept" not in page


def test_labels_given_on_the_command_line_can_be_refitted_to(run):
    ranked = [f["feature"] for f in as_json("top", run / "index", "--by", "coverage", "-n", 48)]
    chosen = {True: ranked[:3], False: ranked[-3:]}
    for general, features in chosen.items():
        for feature in features:
            invoke("label", run / "index", feature, "--general" if general else "--memorised")
    said = invoke("label", run / "index", ranked[0], "--words", "goes to the goal")
    assert "is general: goes to the goal" in said.replace("\n", "")
    found = as_json("classify", run / "index", "--refit")
    assert found["fit_name"] == "labels"
    assert found["refit"]["general"] == found["refit"]["memorised"] == 3
    assert found["general"] + found["memorised"] + found["dead"] == 48
    assert 0 <= found["refit"]["leave_one_out_accuracy"] <= 1
    assert as_json("classify", run / "index")["refit"] is None
    assert "firing rate auc" in " ".join(invoke("classify", run / "index", "--refit").split())


def test_a_strip_gives_the_picture_nearest_in_time(run):
    record = read_episodes(run / "run")[0]
    strip = read_strip(run / "run", record)
    frames = StripFrames(run / "run")
    found = frames(Moment(record.plan.episode, int(strip.steps[1]) + 1, 1))
    assert found.step == strip.steps[1]
    assert np.array_equal(found.image, strip.images[1])
    assert frames(Moment("nobody", 0, 0)) is None


def test_heat_lies_on_the_patches_of_the_image_stream(run):
    index, store = FeatureIndex.open(run / "index"), ActivationStore.open(run / "run/activations")
    sae, point = indexed_sae(index), HookPoint.parse(POINT)
    moment = store.moments(point)[0]
    z = sae.encode(store.lookup(point, moment)[:16]).detach()
    feature = int(z.amax(0).argmax())
    heat = HeatMaps(index, sae, store, None)(feature, moment)
    assert heat.span == "image.top"
    np.testing.assert_allclose(heat.grid, z[:, feature].reshape(4, 4), rtol=1e-5)
    with pytest.raises(UnknownName, match=r"there is: image\.top"):
        HeatMaps(index, sae, store, "image.wrist")(feature, moment)


def test_the_strongest_patch_is_the_reddest_and_the_others_stay():
    heat = Heat("image.top", np.array([[0, 0], [0, 2]], np.float32))
    image = overlaid(np.zeros((8, 8, 3), np.uint8), heat, 2.0)
    assert image[:4].max() == 0
    assert image[5, 5].tolist() == [round(0.65 * 255), round(0.65 * 64), 0]


def test_heat_lies_on_the_square_that_the_policy_looks_at():
    heat = Heat("image.top", np.full((2, 2), 2.0, np.float32), window=(1, 2, 4))
    image = overlaid(np.zeros((8, 8, 3), np.uint8), heat, 2.0)
    assert np.flatnonzero(image.max((1, 2))).tolist() == [1, 2, 3, 4]
    assert np.flatnonzero(image.max((0, 2))).tolist() == [2, 3, 4, 5]
    with pytest.raises(ValueError, match="leaves a picture"):
        overlaid(np.zeros((4, 4, 3), np.uint8), heat, 2.0)


def test_a_moment_without_a_picture_says_so(run, tmp_path):
    index = FeatureIndex.open(run / "index")
    feature = int(index.column("max").argmax())
    sheet = contact_sheet(index, feature, lambda _: None, n=2)
    assert all("no picture was kept" in cell.caption for cell in sheet.cells)
    late = contact_sheet(index, feature, lambda _: Picture(np.zeros((4, 4, 3), np.uint8), 999), n=2)
    assert all("picture of step 999" in cell.caption for cell in late.cells)
    assert write_png(late, tmp_path / "late.png").exists()


def test_an_autoencoder_of_another_policy_or_another_index_is_refused(run, tmp_path):
    store = ActivationStore.open(run / "run/activations")
    sae = TopK(TopKConfig(d_in=128, d_sae=48, k=4, seed=2))
    with pytest.raises(IncompatibleError, match="record that policy"):
        index_trained(Trained(sae, Provenance(checkpoint_hash="f")), store, tmp_path / "a")
    with pytest.raises(IncompatibleError, match="--point"):
        index_trained(Trained(sae), store, tmp_path / "b")
    save_sae(tmp_path / "other", sae)
    with pytest.raises(IncompatibleError, match="nothing in common"):
        indexed_sae(FeatureIndex.open(run / "index"), tmp_path / "other")
