"""What activations say: linear probes, contrastive concepts and FFN value vectors."""

from __future__ import annotations

from vlascope.hookspecs import Register, hookimpl

__all__ = ["register_analyses", "register_commands", "register_interventions", "register_recipes"]


@hookimpl
def register_analyses(register: Register) -> None:
    """Name the analyses."""
    register(
        "probes",
        "vlascope_probes.linear.analysis:ProbeAnalysis",
        summary="linear probes by layer and target, and edits that take out what they read",
    )
    register(
        "concepts",
        "vlascope_probes.concepts.validation:ConceptSearch",
        summary="which concepts exist where, and edits of the strongest",
    )
    register(
        "value_vectors",
        "vlascope_probes.value_vectors.analysis:ValueVectors",
        summary="FFN neurons by the words they write, and edits that hold them",
    )


@hookimpl
def register_interventions(register: Register) -> None:
    """Name the edits made of what probes read."""
    register(
        "erase",
        "vlascope_probes.linear.erasing:Erase",
        summary="hold a subspace at its mean, so that nothing linear is read from it",
    )


@hookimpl
def register_recipes(register: Register) -> None:
    """Name the recipes."""
    register(
        "probes",
        "vlascope_probes.recipes.probes:Probes",
        summary="what can be read off each layer, and is it used?",
    )
    register(
        "concepts",
        "vlascope_probes.concepts.recipe:ConceptRecipe",
        summary="which features and directions stand for which concepts?",
    )
    register(
        "value_vectors",
        "vlascope_probes.value_vectors.recipe:ValueVectorRecipe",
        summary="which words do FFN neurons speak, and what happens when they are held?",
    )


@hookimpl
def register_commands(register: Register) -> None:
    """Add the commands of the probes package."""
    register(
        "probes", "vlascope_probes.cli.linear:app", summary="Fit linear probes on a recording."
    )
    register(
        "concepts",
        "vlascope_probes.cli.concepts:app",
        summary="Concepts: where they are, which features stand for them.",
    )
    register(
        "value-vectors",
        "vlascope_probes.cli.value_vectors:app",
        summary="Read FFN neurons in words.",
    )
