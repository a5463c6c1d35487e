"""What the core itself provides, registered through the same door as everyone's."""

from __future__ import annotations

from vlascope.hookspecs import Register, hookimpl

__all__ = [
    "register_analyses",
    "register_datasets",
    "register_interventions",
    "register_perturbations",
    "register_recipes",
]

_KINDS = {
    "identity": ("ablate:Identity", "change nothing (control)"),
    "zero_ablate": ("ablate:ZeroAblate", "replace by zeros"),
    "mean_ablate": ("ablate:MeanAblate", "replace by a reference mean"),
    "resample_ablate": ("ablate:ResampleAblate", "replace by another episode's activation"),
    "inject": ("inject:Inject", "put in what another run computed"),
    "inject_subspace": ("inject:InjectSubspace", "the same, within a subspace"),
    "steer": ("steer:Steer", "add a direction"),
    "steer_to": ("closed_loop:SteerTo", "hold a measured quantity at a set point (PI)"),
    "project_out": ("steer:ProjectOut", "remove a subspace"),
    "clamp": ("steer:Clamp", "hold neurons at a value"),
    "random_direction": ("steer:RandomDirection", "equal norm, random direction (control)"),
}

_ANALYSES: dict[str, tuple[str, str]] = {
    "first_looks": ("looks:FirstLooks", "what the cameras show when an episode begins"),
    "difference_subspaces": (
        "differences:DifferenceSubspaces",
        "subspaces of what two tasks' runs differ in",
    ),
    "means": ("means:Means", "mean activations, as ablations"),
    "difference_of_means": ("directions:DifferenceOfMeans", "directions between two conditions"),
}

_RECIPES: dict[str, tuple[str, str]] = {
    "vision": ("vision:Vision", "perturbations by severity, and a map of the picture"),
    "injection": ("injection:Injection", "one run's activations put into another, by pathway"),
    "steering": ("steering:Steering", "strengths, layers and a closed loop along a direction"),
    "ablation": ("ablation:Ablation", "layers, sites, times and feature sets taken away"),
    "language": ("language:Language", "counterfactual instructions by task structure"),
}


@hookimpl
def register_interventions(register: Register) -> None:
    """The first-party interventions."""
    for kind, (target, summary) in _KINDS.items():
        register(kind, f"vlascope.interventions.{target}", summary=summary)


@hookimpl
def register_datasets(register: Register) -> None:
    """The first-party formats of recorded episodes."""
    register("run", "vlascope.replay.runs:RunFormat", summary="the episodes of a run's folder")


@hookimpl
def register_analyses(register: Register) -> None:
    """The first-party analyses."""
    for kind, (target, summary) in _ANALYSES.items():
        register(kind, f"vlascope.analyses.{target}", summary=summary)


@hookimpl
def register_recipes(register: Register) -> None:
    """The first-party recipes."""
    for kind, (target, summary) in _RECIPES.items():
        register(kind, f"vlascope.recipes.{target}", summary=summary)


_PERTURBATIONS = {
    "crop": ("geometry:Crop", "keep a window of the picture, enlarged"),
    "rotate": ("geometry:Rotate", "turn the picture"),
    "flip": ("geometry:Flip", "the mirror image"),
    "blur": ("grain:Blur", "Gaussian blur"),
    "noise": ("grain:Noise", "Gaussian noise, new at every step"),
    "brightness": ("tone:Brightness", "darker or brighter"),
    "contrast": ("tone:Contrast", "towards the mean colour"),
    "colour": ("tone:Colour", "turn the hue"),
    "greyscale": ("tone:Greyscale", "take the colour out"),
    "occlusion": ("masks:Occlusion", "cover one cell of a grid"),
    "half_mask": ("masks:HalfMask", "cover one half"),
    "freeze_first": ("cameras:FreezeFirst", "show the first picture again"),
    "camera_swap": ("cameras:CameraSwap", "cameras show each other's pictures"),
    "camera_drop": ("cameras:CameraDrop", "a camera is lost (black)"),
    "function": ("function:Function", "call a function `(camera, picture) -> picture`"),
}


@hookimpl
def register_perturbations(register: Register) -> None:
    """The first-party perturbations."""
    for kind, (target, summary) in _PERTURBATIONS.items():
        register(kind, f"vlascope.perturbations.{target}", summary=summary)
