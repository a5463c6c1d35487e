"""The promise that naming things is cheap."""

from __future__ import annotations

import subprocess
import sys

from vlascope.conformance.results import fail

__all__ = ["HEAVY", "listing_imports_no_torch"]

HEAVY = (
    "torch",
    "jax",
    "tensorflow",
    "transformers",
    "timm",
    "lerobot",
    "mujoco",
    "metaworld",
    "gymnasium",
)
"""Packages that no plugin may import before something of it is used."""

_SCRIPT = f"""
import sys
from vlascope import plugins
plugins.registry()
print(",".join(name for name in {HEAVY!r} if name in sys.modules))
"""


def listing_imports_no_torch(_subject: object) -> None:
    """Listing what is registered imports neither torch nor a simulator (in a new process)."""
    command = [sys.executable, "-W", "ignore", "-c", _SCRIPT]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        fail(f"listing plugins crashed: {done.stderr.strip()}")
    if imported := done.stdout.strip():
        fail(
            f"listing plugins imports {imported}: let the plugin's own module register an import "
            'string ("package.module:Class") and import heavy packages in that module only'
        )
