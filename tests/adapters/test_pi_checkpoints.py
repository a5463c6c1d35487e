"""Checkpoints of pi0 and pi0.5 in the hub's layout, good and bad, and their published size."""

from __future__ import annotations

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch

pytest.importorskip("lerobot")

import huggingface_hub.constants
from lerobot.configs import FeatureType, NormalizationMode, PolicyFeature
from lerobot.policies.factory import get_policy_class, make_policy_config
from safetensors.torch import load_file, save_file

from vlascope import load
from vlascope.errors import CorruptFile, FileMissing, IncompatibleError
from vlascope.noise import generator_for
from vlascope_adapters.lerobot import tiny
from vlascope_adapters.lerobot.pi import Pi0Adapter, Pi05Adapter
from vlascope_adapters.lerobot.pi_prompts import offline_processors
from vlascope_adapters.lerobot.pi_sizes import TINY, Sizes, at_real_size, enlivened, sized
from vlascope_adapters.lerobot.policy import STATE
from vlascope_adapters.robots import ROBOTS

EMBEDDING = "model.paligemma_with_expert.paligemma.model.language_model.embed_tokens.weight"
HEAD = "model.paligemma_with_expert.paligemma.lm_head.weight"


LIBERO = ROBOTS["libero"].seen_at(40)
PICTURE = PolicyFeature(FeatureType.VISUAL, (3, 40, 40))


@pytest.fixture(scope="module", params=[Pi0Adapter, Pi05Adapter], ids=lambda cls: cls.name)
def written(request, tmp_path_factory):
    """A checkpoint as LIBERO's are: a third camera that nothing fills, mean and spread."""
    cls = request.param
    folder = tmp_path_factory.mktemp("pi") / f"{cls.kind}_libero"
    modes = {"VISUAL": "IDENTITY", "STATE": "MEAN_STD", "ACTION": "MEAN_STD"}
    state, action = PolicyFeature(FeatureType.STATE, (8,)), PolicyFeature(FeatureType.ACTION, (7,))
    config = make_policy_config(
        cls.kind,
        input_features={
            "observation.images.image": PICTURE,
            "observation.images.image2": PICTURE,
            STATE: state,
        },
        output_features={"action": action},
        device="cpu",
        image_resolution=(28, 28),
        empty_cameras=1,
        chunk_size=6,
        n_action_steps=3,
        num_inference_steps=2,
        max_state_dim=8,
        max_action_dim=8,
        tokenizer_max_length=64,
        normalization_mapping={k: NormalizationMode[v] for k, v in modes.items()},
    )
    with tiny.seeded(3), sized(cls.kind, TINY):
        upstream = enlivened(get_policy_class(cls.kind)(config)).eval()
    upstream.save_pretrained(folder)
    numbers = {STATE: torch.arange(8.0), "action": torch.arange(7.0)}
    statistics = {name: {"mean": n / 9, "std": 1 + n / 4} for name, n in numbers.items()}
    pipelines = offline_processors(config, statistics)
    tokenizer = next(s for s in pipelines.before.steps if hasattr(s, "input_tokenizer"))
    for pipeline in (pipelines.before, pipelines.after):
        pipeline.save_pretrained(folder)
    tokenizer.input_tokenizer.save_pretrained(folder)
    return SimpleNamespace(cls=cls, folder=folder, upstream=upstream)


@pytest.fixture
def copy(written, tmp_path):
    """The same checkpoint, to be spoilt."""
    folder = shutil.copytree(written.folder, tmp_path / written.folder.name)
    return SimpleNamespace(cls=written.cls, folder=folder)


def loaded(checkpoint, **options):
    """At the camera size that the checkpoint was made for."""
    return checkpoint.cls.from_pretrained(str(checkpoint.folder), robot=LIBERO, **options)


def acts(policy, network=None):
    """The upstream call of two rows, before post-processing."""
    seen = [policy.example_observation(seed) for seed in range(2)]
    noise = policy.noise([generator_for(1, row) for row in range(2)])
    return (network or policy.model).predict_action_chunk(policy.batch(seen), noise=noise)


def test_a_checkpoint_in_the_hubs_layout_acts_as_the_policy_that_was_saved(written):
    ours = loaded(written)
    assert ours.info.checkpoint_hash == loaded(written).info.checkpoint_hash
    assert torch.equal(acts(ours), acts(ours, written.upstream))
    steps = json.loads((written.folder / "policy_preprocessor.json").read_text())["steps"]
    (named,) = [s["config"] for s in steps if s["registry_name"] == "tokenizer_processor"]
    assert named["tokenizer_name"] == "google/paligemma-3b-pt-224"


def test_cameras_are_looked_at_in_order_and_one_that_nothing_fills_is_padding(written):
    ours = loaded(written)
    seen = [ours.example_observation(0)]
    with ours.record(["vision.projector", "vlm.0.resid_pre", "vlm.*.attn_probs"]) as cache:
        ours.infer(seen)
    spans, patches = ours.token_spans(seen)["vlm"][0], cache.stack("vision.projector")[:, 0]
    pictures = ["image.agentview", "image.wrist", "padding.empty_camera_0"]
    assert ours.info.pathway("vision").calls_per_chunk == len(patches) == 3
    assert list(spans)[:3] == pictures
    assert spans.n_tokens == cache.stack("vlm.0.resid_pre").shape[2]
    for call, name in enumerate(pictures):
        assert list(ours.token_spans(seen, call=call)["vision"][0]) == [name]
        assert torch.equal(cache.stack("vlm.0.resid_pre")[0, 0, spans[name]], patches[call])
    looked_at = cache.stack("vlm.0.attn_probs")[0, 0, :, : spans["image.wrist"].stop]
    assert looked_at[..., spans["image.wrist"]].all()
    assert not looked_at[..., spans["padding.empty_camera_0"]].any()


def test_bfloat16_keeps_in_float32_what_upstream_keeps(written):
    ours, exact = loaded(written, dtype=torch.bfloat16), loaded(written)
    upstream = get_policy_class(written.cls.kind)
    with sized(written.cls.kind, TINY):
        theirs = upstream(ours.config).eval()
    theirs.load_state_dict(exact.model.state_dict())
    kinds = {name: p.dtype for name, p in theirs.named_parameters()}
    assert {name: p.dtype for name, p in ours.model.named_parameters()} == kinds
    assert set(kinds.values()) == {torch.bfloat16, torch.float32}
    assert torch.equal(acts(ours), acts(ours, theirs))
    assert not torch.equal(acts(ours), acts(exact))
    torch.testing.assert_close(acts(ours), acts(exact), rtol=0.1, atol=0.3)
    with ours.record("*"):
        assert np.isfinite(ours.infer([ours.example_observation(0)]).actions).all()
    with pytest.raises(ValueError, match="float32 or bfloat16"):
        loaded(written, dtype=torch.float16)


def test_tiny_weights_take_another_precision_and_back(written):
    policy = load(written.cls.name, dtype="bfloat16")
    weights = policy.model.state_dict()
    assert weights[EMBEDDING].dtype == torch.bfloat16
    assert weights["model.action_in_proj.weight"].dtype == torch.float32
    exact = load(written.cls.name).model.state_dict()
    kept = [name for name, tensor in weights.items() if tensor.dtype == torch.float32]
    assert all(torch.equal(weights[name], exact[name]) for name in kept)
    assert np.isfinite(policy.infer([policy.example_observation(0)]).actions).all()


def spoil(folder, change):
    tensors = load_file(folder / "model.safetensors")
    save_file(change(tensors), folder / "model.safetensors")


def test_names_as_openpi_writes_them_are_brought_to_todays(copy):
    def change(tensors):
        tensors[HEAD] = tensors.pop(EMBEDDING)  # tied there, and kept under this name
        return {name.removeprefix("model."): tensor for name, tensor in tensors.items()}

    wanted = acts(loaded(copy))
    spoil(copy.folder, change)
    assert torch.equal(acts(loaded(copy)), wanted)


def test_missing_extra_and_reshaped_tensors_are_named(copy):
    def change(tensors):
        tensors["model.stranger"] = torch.zeros(2)
        tensors["model.action_out_proj.bias"] = torch.zeros(9)
        return {k: v for k, v in tensors.items() if k != "model.action_out_proj.weight"}

    spoil(copy.folder, change)
    with pytest.raises(CorruptFile) as error:
        loaded(copy)
    for part in ("stranger", "bias is (9,)", "missing (model.action_out_proj.weight)"):
        assert part in str(error.value)


def test_a_truncated_file_is_refused_before_anything_is_built(copy, monkeypatch):
    weights = copy.folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    monkeypatch.setattr("vlascope_adapters.lerobot.policy.get_policy_class", None)
    with pytest.raises(CorruptFile, match="truncated"):
        loaded(copy)


def test_weights_in_pickle_form_are_refused(copy):
    (copy.folder / "model.safetensors").rename(copy.folder / "pytorch_model.bin")
    with pytest.raises(FileMissing, match="pickle form only"):
        loaded(copy)


def test_pi0_is_not_pi05(copy):
    copy.cls = Pi05Adapter if copy.cls is Pi0Adapter else Pi0Adapter
    with pytest.raises(IncompatibleError, match=f"checkpoint, not '{copy.cls.kind}'"):
        loaded(copy)


def test_weights_of_pi0_under_the_config_of_pi05_are_refused(copy):
    other = "pi05" if copy.cls is Pi0Adapter else "pi0"
    config = json.loads((copy.folder / "config.json").read_text())
    (copy.folder / "config.json").write_text(json.dumps({**config, "type": other}))
    copy.cls = Pi05Adapter if other == "pi05" else Pi0Adapter
    with pytest.raises(CorruptFile, match=r"missing .*unexpected"):
        loaded(copy)


def test_a_checkpoint_without_processor_files_gets_the_command_that_migrates_it(copy):
    (copy.folder / "policy_preprocessor.json").unlink()
    with pytest.raises(FileMissing, match="migrate_policy_normalization --pretrained-path"):
        loaded(copy)


def test_the_gated_tokenizer_is_asked_for_before_the_weights_are_read(copy, tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    words = tmp_path / "words"
    words.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (copy.folder / name).rename(words / name)
    weights = (copy.folder / "model.safetensors").rename(tmp_path / "weights")
    with pytest.raises(FileMissing) as error:
        loaded(copy)
    for part in ("google/paligemma-3b-pt-224", "accept its terms", "tokenizer=FOLDER"):
        assert part in str(error.value)
    weights.rename(copy.folder / "model.safetensors")
    assert loaded(copy, tokenizer=str(words)).info.horizon == 6


def test_processor_files_that_are_spoilt_or_not_all_there_are_told(copy):
    statistics = next(copy.folder.glob("policy_preprocessor*.safetensors"))
    statistics.write_bytes(statistics.read_bytes()[:-9])
    with pytest.raises(CorruptFile, match="processor files"):
        loaded(copy)
    statistics.unlink()
    with pytest.raises(FileMissing, match=statistics.name):
        loaded(copy)


def test_a_wrong_observation_is_refused_before_the_network_runs(written):
    policy, ran = loaded(written), []
    good = policy.example_observation(0)
    blind = type(good)(good.instruction, {}, good.state)
    short = type(good)(good.instruction, good.images, {"eef_position": np.zeros(2, np.float32)})
    policy.model.model.action_in_proj.register_forward_pre_hook(lambda *_: ran.append(1))
    with pytest.raises(ValueError, match="looks at 'agentview'"):
        policy.infer([blind])
    with pytest.raises(ValueError, match="needs state 'eef_position'"):
        policy.infer([short])
    assert not ran


def test_sizes_are_read_off_a_checkpoint_and_upstream_is_left_as_it_was(written, tmp_path):
    assert Sizes.of(written.folder) == TINY
    assert Sizes.of(tmp_path) is None
    with sized(written.cls.kind, None), sized(written.cls.kind, TINY):
        pass
    modeling = __import__(get_policy_class(written.cls.kind).__module__, fromlist=["_"])
    assert modeling.get_gemma_config("gemma_2b").width == 2048


@pytest.mark.parametrize(
    ("kind", "expert", "ends"), [("pi0", 311_464_960, 3_248_160), ("pi05", 427_932_672, 2_165_792)]
)
def test_the_real_size_is_the_published_one(kind, expert, ends):
    """2,923,335,408 is what Keras counts for PaliGemma 3B at 224 px with lerobot's vocabulary.

    The paper's expert has 300 M; pi0.5's norms, which are told the time, add 116 M. Hub pages of
    pi0 fine-tuned with lerobot say 4.03 B, two output heads that nothing calls included.
    """
    counts = parameters_per_pathway(at_real_size(kind))
    assert counts["vision"] + counts["vlm"] == 2_923_335_408
    assert (counts["expert"], counts["ends"]) == (expert, ends)
    if kind == "pi0":
        assert sum(counts.values()) == pytest.approx(4.03e9, abs=0.005e9)


def parameters_per_pathway(model):
    """By module path; `ends` lead into the expert and out of it."""
    places = {
        "lm_head": "unused",
        "vision_tower": "vision",
        "multi_modal_projector": "vision",
        "language_model": "vlm",
        "gemma_expert": "expert",
    }
    counts = dict.fromkeys((*places.values(), "ends"), 0)
    for name, parameter in model.named_parameters():
        at = next((place for part, place in places.items() if part in name), "ends")
        counts[at] += parameter.numel()
    return counts
