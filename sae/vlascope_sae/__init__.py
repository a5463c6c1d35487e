"""Sparse autoencoders: architectures, training, evaluation, features, and edits made of them."""

from __future__ import annotations

from vlascope.hookspecs import Register, hookimpl

__all__ = [
    "register_analyses",
    "register_commands",
    "register_encoders",
    "register_interventions",
    "register_recipes",
    "register_saes",
    "register_trackers",
]

_ARCHITECTURES = {
    "standard": ("standard:Standard", "ReLU latents, penalised by their sum (L1)"),
    "topk": ("topk:TopK", "the k largest latents of each row fire"),
    "batch_topk": ("batch_topk:BatchTopK", "k per row on average over a batch"),
    "jumprelu": ("jumprelu:JumpReLU", "a learned threshold for each latent"),
    "gated": ("gated:Gated", "one encoder says which latents fire, another how strongly"),
    "matryoshka": ("matryoshka:Matryoshka", "BatchTopK whose first latents reconstruct alone"),
    "temporal": ("temporal:Temporal", "TopK whose codes change slowly over time"),
}


@hookimpl
def register_saes(register: Register) -> None:
    """Name the architectures."""
    for name, (where, summary) in _ARCHITECTURES.items():
        register(name, f"vlascope_sae.architectures.{where}", summary=summary)


@hookimpl
def register_interventions(register: Register) -> None:
    """Name the edits that go through an autoencoder."""
    where = "vlascope_sae.splicing"
    register(
        "sae_reconstruct", f"{where}:Reconstruct", summary="replace by an SAE's reconstruction"
    )
    register(
        "sae_feature", f"{where}:FeatureEdit", summary="scale, clamp, ablate or add SAE features"
    )
    register(
        "sae_feature_matched",
        "vlascope_sae.controls:MatchedFeatureEdit",
        summary="the same, of features that fire as often (control)",
    )


@hookimpl
def register_encoders(register: Register) -> None:
    """Let others read features without knowing autoencoders."""
    register("sae", "vlascope_sae.encoding:open_sae", summary="the folder of an autoencoder")


@hookimpl
def register_analyses(register: Register) -> None:
    """Name the analyses."""
    register(
        "sae_training",
        "vlascope_sae.recipes.analysis:SAETraining",
        summary="autoencoders at a relative depth, and edits that splice them in",
    )


@hookimpl
def register_recipes(register: Register) -> None:
    """Name the recipes."""
    register(
        "saes",
        "vlascope_sae.recipes.saes:SAEs",
        summary="what do autoencoders keep, and does the policy still act on it?",
    )


@hookimpl
def register_trackers(register: Register) -> None:
    """Say where the numbers of a training may go."""
    where = "vlascope_sae.training.tracking"
    register("jsonl", f"{where}:json_lines", summary="a file of JSON lines beside the results")


@hookimpl
def register_commands(register: Register) -> None:
    """Add `vlascope sae` and `vlascope features`."""
    register("sae", "vlascope_sae.cli:app", summary="Train sparse autoencoders and judge them.")
    register("features", "vlascope_sae.cli.features:app", summary="What an SAE's features mean.")
