"""Changes of what a policy sees: plain data, seeded, composable, each leaving a receipt."""

from vlascope.perturbations.applying import Perturbing, Sent, digest_of
from vlascope.perturbations.cameras import CameraDrop, CameraSwap, FreezeFirst
from vlascope.perturbations.function import Function, Given
from vlascope.perturbations.geometry import Crop, Flip, Rotate
from vlascope.perturbations.grain import Blur, Noise
from vlascope.perturbations.masks import HalfMask, Occlusion
from vlascope.perturbations.parse import PerturbationData, parse_perturbation, parse_perturbations
from vlascope.perturbations.perturbation import Look, Perturbation, PictureEdit
from vlascope.perturbations.receipts import PerturbationReceipt, Perturbed
from vlascope.perturbations.tone import Brightness, Colour, Contrast, Greyscale

__all__ = [
    "Blur",
    "Brightness",
    "CameraDrop",
    "CameraSwap",
    "Colour",
    "Contrast",
    "Crop",
    "Flip",
    "FreezeFirst",
    "Function",
    "Given",
    "Greyscale",
    "HalfMask",
    "Look",
    "Noise",
    "Occlusion",
    "Perturbation",
    "PerturbationData",
    "PerturbationReceipt",
    "Perturbed",
    "Perturbing",
    "PictureEdit",
    "Rotate",
    "Sent",
    "digest_of",
    "parse_perturbation",
    "parse_perturbations",
]
