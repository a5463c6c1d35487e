"""Autoencoders in other libraries' layouts, with equal outputs or a refusal that says why."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Final

from vlascope.errors import FileMissing, unknown_name
from vlascope_sae.files import save_sae
from vlascope_sae.inference import for_inference
from vlascope_sae.interchange import dictionary_learning, saelens, sparsify
from vlascope_sae.provenance import Trained

__all__ = ["READERS", "WRITERS", "read_foreign", "recognise", "write_foreign"]

_LAYOUTS: Final[dict[str, ModuleType]] = {
    "saelens": saelens,
    "dictionary_learning": dictionary_learning,
    "sparsify": sparsify,
}
READERS: Final[dict[str, Callable[[str | Path], Trained]]] = {
    "saelens": saelens.read,
    "dictionary_learning": dictionary_learning.read,
    "sparsify": sparsify.read,
}


def _write_our_own(trained: Trained, folder: str | Path) -> tuple[str, ...]:
    save_sae(folder, for_inference(trained.sae), trained.provenance)
    return ("in the form for inference: constants folded, BatchTopK as JumpReLU",)


WRITERS: Final[dict[str, Callable[[Trained, str | Path], tuple[str, ...]]]] = {
    "saelens": saelens.write,
    "vlascope": _write_our_own,
}


def recognise(folder: str | Path) -> str:
    """Whose layout a folder is in, by the names of its files.

    Raises:
        FileMissing: nobody's.
    """
    folder = Path(folder)
    for name, layout in _LAYOUTS.items():
        if (folder / layout.CONFIG).exists() and (folder / layout.WEIGHTS).exists():
            return name
    wanted = "; ".join(f"{name}: {m.CONFIG} and {m.WEIGHTS}" for name, m in _LAYOUTS.items())
    raise FileMissing(f"{folder} is in no layout that is read here ({wanted})")


def read_foreign(folder: str | Path, layout: str | None = None) -> Trained:
    """Read another library's autoencoder; its latents and outputs are the same here.

    Args:
        folder: where it lies.
        layout: one of `READERS`; None to recognise it.

    Raises:
        UnknownName: there is no such layout.
        FileMissing, CorruptFile: it is not there, or not whole.
        IncompatibleError: it computes something that no architecture here does.
    """
    name = layout or recognise(folder)
    if name not in READERS:
        raise unknown_name("layout that is read", name, READERS)
    return READERS[name](folder)


def write_foreign(trained: Trained, folder: str | Path, layout: str) -> tuple[str, ...]:
    """Write an autoencoder for another library, or in our own format for inference only.

    Args:
        trained: the autoencoder; where it comes from is written beside it.
        folder: where to.
        layout: one of `WRITERS`.

    Returns:
        What was rewritten to fit the layout.

    Raises:
        UnknownName: there is no such layout.
        IncompatibleError: the other library cannot compute what it computes.
        AlreadyThere: the folder holds an autoencoder.
    """
    if layout not in WRITERS:
        raise unknown_name("layout that is written", layout, WRITERS)
    return WRITERS[layout](trained, folder)
