"""Writes the small autoencoders in this folder with the libraries whose layouts they are in.

Run in an environment of its own, with sae-lens 6.54.12, dictionary-learning 0.1.0 and eai-sparsify
1.3.3 (and torch 2.13.0):

    python tests/sae/data/make.py

Every case is a folder as the library writes it, and `io.safetensors` beside its files: `x` went
in, `latents` and `out` are what the library computed after reading its own files back. The weights
are random, and so are the biases, norms and thresholds that conversions tend to lose.
"""

import json
import shutil
from importlib.metadata import version
from pathlib import Path

import torch
from safetensors.torch import save_file

HERE = Path(__file__).parent
D_IN, D_SAE, K, ROWS = 6, 16, 3, 12


def shuffle(module: torch.nn.Module) -> None:
    """Random numbers in every parameter; thresholds positive."""
    for name, parameter in module.named_parameters():
        parameter.data = 0.5 * torch.randn_like(parameter)
        if "threshold" in name:
            parameter.data.abs_()


def inputs() -> torch.Tensor:
    return torch.randn(ROWS, D_IN) * 2 + torch.linspace(-1, 1, D_IN)


def write_io(folder: Path, x: torch.Tensor, latents: torch.Tensor, out: torch.Tensor) -> None:
    tensors = {"x": x, "latents": latents, "out": out}
    save_file({k: v.detach().contiguous() for k, v in tensors.items()}, folder / "io.safetensors")


def sae_lens_cases() -> None:
    from sae_lens import SAE
    from sae_lens import saes as s

    cases = {
        "standard": s.StandardSAE(s.StandardSAEConfig(D_IN, D_SAE)),
        "standard_uncentred": s.StandardSAE(
            s.StandardSAEConfig(D_IN, D_SAE, apply_b_dec_to_input=False)
        ),
        "standard_layer_norm": s.StandardSAE(
            s.StandardSAEConfig(D_IN, D_SAE, normalize_activations="layer_norm")
        ),
        "topk": s.TopKSAE(s.TopKSAEConfig(D_IN, D_SAE, k=K)),
        "topk_rescaled": s.TopKSAE(
            s.TopKSAEConfig(D_IN, D_SAE, k=K, rescale_acts_by_decoder_norm=True)
        ),
        "jumprelu": s.JumpReLUSAE(s.JumpReLUSAEConfig(D_IN, D_SAE)),
        "gated": s.GatedSAE(s.GatedSAEConfig(D_IN, D_SAE)),
        "transcoder": s.Transcoder(
            s.TranscoderConfig(D_IN, D_SAE, d_out=4, apply_b_dec_to_input=False)
        ),
        "jumprelu_transcoder": s.JumpReLUTranscoder(
            s.JumpReLUTranscoderConfig(D_IN, D_SAE, d_out=4, apply_b_dec_to_input=False)
        ),
        "skip_transcoder": s.SkipTranscoder(
            s.SkipTranscoderConfig(D_IN, D_SAE, d_out=D_IN, apply_b_dec_to_input=False)
        ),
        "batch_topk": s.BatchTopKTrainingSAE(s.BatchTopKTrainingSAEConfig(D_IN, D_SAE, k=K)),
    }
    for name, sae in cases.items():
        folder, x = HERE / "saelens" / name, inputs()
        shuffle(sae)
        if hasattr(sae, "topk_threshold"):
            sae.topk_threshold.fill_(0.7)
            sae.save_inference_model(folder)
        else:
            sae.save_model(folder)
        read = SAE.load_from_disk(folder)
        write_io(folder, x, read.encode(x), read(x))


def sae_lens_before_version_6() -> None:
    """Settings as they were written then, which SAELens still reads."""
    from sae_lens import SAE

    written = HERE / "saelens" / "topk"
    folder, x = Path(shutil.copytree(written, written.parent / "legacy_topk")), inputs()
    config = {"d_in": D_IN, "d_sae": D_SAE, "dtype": "float32", "device": "cpu"}
    config |= {"architecture": "standard", "activation_fn_str": "topk", "hook_name": "blocks.0"}
    config |= {"activation_fn_kwargs": {"k": K}, "normalize_activations": "none"}
    config |= {"apply_b_dec_to_input": True, "finetuning_scaling_factor": False}
    (folder / "cfg.json").write_text(json.dumps(config))
    read = SAE.load_from_disk(folder)
    write_io(folder, x, read.encode(x), read(x))


def dictionary_learning_cases() -> None:
    from types import SimpleNamespace

    from dictionary_learning.dictionary import AutoEncoderNew
    from dictionary_learning.trainers.batch_top_k import BatchTopKTrainer
    from dictionary_learning.trainers.gdm import GatedSAETrainer
    from dictionary_learning.trainers.jumprelu import JumpReluTrainer
    from dictionary_learning.trainers.matryoshka_batch_top_k import MatryoshkaBatchTopKTrainer
    from dictionary_learning.trainers.standard import StandardTrainer
    from dictionary_learning.trainers.top_k import TopKTrainer
    from dictionary_learning.utils import load_dictionary

    shared = {"steps": 10, "activation_dim": D_IN, "dict_size": D_SAE, "device": "cpu"}
    shared |= {"layer": 0, "lm_name": "none", "lr": 1e-3, "seed": 0}
    shared |= {"warmup_steps": 1}
    annealed = shared | {"sparsity_warmup_steps": None}
    no_trainer_makes_it = {"dict_class": "AutoEncoderNew", "activation_dim": D_IN}
    no_trainer_makes_it |= {"dict_size": D_SAE}
    cases = {
        "auto_encoder_new": SimpleNamespace(
            ae=AutoEncoderNew(D_IN, D_SAE), config=no_trainer_makes_it
        ),
        "auto_encoder": StandardTrainer(**annealed),
        "gated": GatedSAETrainer(**annealed),
        "jumprelu": JumpReluTrainer(**annealed),
        "topk": TopKTrainer(**shared, k=K),
        "batch_topk": BatchTopKTrainer(**shared, k=K),
        "batch_topk_untrained": BatchTopKTrainer(**shared, k=K),
        "matryoshka": MatryoshkaBatchTopKTrainer(**shared, k=K, group_fractions=[0.25, 0.75]),
    }
    for name, trainer in cases.items():
        folder, x, module = HERE / "dictionary_learning" / name, inputs(), trainer.ae
        folder.mkdir(parents=True)
        shuffle(module)
        if "batch" in name or name == "matryoshka":
            module.threshold.fill_(-1.0 if "untrained" in name else 0.7)
        torch.save(module.state_dict(), folder / "ae.pt")
        about = {"trainer": trainer.config}
        (folder / "config.json").write_text(json.dumps(about, indent=4))
        read, _ = load_dictionary(str(folder), "cpu")
        # `AutoEncoder` is rescaled while it is read: the same output from other latents.
        write_io(folder, x, module.encode(x), read(x))


def sparsify_cases() -> None:
    from sparsify import SparseCoder, SparseCoderConfig

    cases = {
        "topk": SparseCoderConfig(num_latents=D_SAE, k=K),
        "expansion": SparseCoderConfig(expansion_factor=2, k=K),
        "transcode": SparseCoderConfig(num_latents=D_SAE, k=K, transcode=True),
        "skip": SparseCoderConfig(num_latents=D_SAE, k=K, transcode=True, skip_connection=True),
        "groupmax": SparseCoderConfig(num_latents=D_SAE, k=4, activation="groupmax"),
    }
    for name, config in cases.items():
        folder, x, coder = HERE / "sparsify" / name, inputs(), SparseCoder(D_IN, config)
        shuffle(coder)
        coder.save_to_disk(folder)
        read = SparseCoder.load_from_disk(folder)
        found = read.encode(x)
        latents = torch.zeros_like(found.pre_acts)
        latents = latents.scatter(1, found.top_indices, found.top_acts)
        write_io(folder, x, latents, read(x).sae_out)


def main() -> None:
    for library in ("saelens", "dictionary_learning", "sparsify"):
        shutil.rmtree(HERE / library, ignore_errors=True)
    torch.manual_seed(0)
    sae_lens_cases()
    sae_lens_before_version_6()
    dictionary_learning_cases()
    sparsify_cases()
    for settings in HERE.glob("*/*/*.json"):
        settings.write_text(settings.read_text().rstrip() + "\n")
    packages = ("sae-lens", "dictionary-learning", "eai-sparsify", "torch", "safetensors")
    versions = {package: version(package) for package in packages}
    (HERE / "versions.json").write_text(json.dumps(versions, indent=1) + "\n")


if __name__ == "__main__":
    main()
