"""Importing hf-libero and robosuite as guests: no question asked, nothing written elsewhere."""

from __future__ import annotations

import hashlib
import os
import sys
import warnings
from importlib import import_module
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import yaml
from platformdirs import user_cache_path

from vlascope_benchmarks.libero.assets import libero_folder
from vlascope_benchmarks.mujoco_rendering import import_mujoco

__all__ = ["import_libero"]

_CONFIG_VARIABLE = "LIBERO_CONFIG_PATH"


def import_libero(assets: Path) -> ModuleType:
    """`libero.libero.envs`, whose objects are read from the folder `assets`.

    Left alone, the package asks where its data sets are when it is first imported, and waits for an
    answer. It is told through a configuration in the user's cache, unless `LIBERO_CONFIG_PATH` says
    where one is to be. robosuite's log in `/tmp` is not opened, and what numba compiles for it is
    kept in the cache too.

    Raises:
        ModuleNotFoundError: hf-libero or robosuite is not installed.
        NoRenderer: `MUJOCO_GL` names a renderer that is not installed.
    """
    folder = libero_folder()
    if "libero.libero" not in sys.modules:
        _write_configuration(folder)
    import_mujoco()
    if "robosuite" not in sys.modules:
        _import_robosuite_quietly()
    package = import_module("libero.libero")
    package.__dict__["_assets_path_cache"] = str(assets)
    return import_module("libero.libero.envs")


def _write_configuration(libero: Path) -> None:
    """The file that the package reads when imported, with the paths of the package as installed."""
    paths = {
        "benchmark_root": libero,
        "bddl_files": libero / "bddl_files",
        "init_states": libero / "init_files",
        "datasets": libero.parent / "datasets",
        "assets": libero / "assets",
    }
    text = yaml.safe_dump({name: str(path) for name, path in paths.items()})
    if _CONFIG_VARIABLE not in os.environ:
        name = hashlib.sha256(text.encode()).hexdigest()[:12]
        os.environ[_CONFIG_VARIABLE] = str(user_cache_path("vlascope") / "libero" / name)
    target = Path(os.environ[_CONFIG_VARIABLE]) / "config.yaml"
    if target.is_file():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    own = target.with_name(f"config.{os.getpid()}.part")
    own.write_text(text, "utf-8")
    own.replace(target)


def _import_robosuite_quietly() -> None:
    """Set its macros before it reads them: no log file, and no advice to write a macro file."""
    os.environ.setdefault("NUMBA_CACHE_DIR", str(user_cache_path("vlascope") / "numba"))
    spec = find_spec("robosuite")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(
            "this benchmark needs robosuite 1.4.0, which is not installed; "
            "install it with `pip install 'vlascope[libero]'`",
            name="robosuite",
        )
    private = "robosuite.macros_private"
    if not (Path(spec.submodule_search_locations[0]) / "macros_private.py").is_file():
        sys.modules[private] = ModuleType(private)
    macros = _loaded("robosuite.macros", Path(spec.submodule_search_locations[0]) / "macros.py")
    macros.__dict__["FILE_LOGGING_LEVEL"] = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        import_module("robosuite")


def _loaded(name: str, path: Path) -> ModuleType:
    """A module of a package, loaded before the package is."""
    spec = spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
