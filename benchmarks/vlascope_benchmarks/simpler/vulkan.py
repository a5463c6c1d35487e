"""Whether SAPIEN finds something to draw with; without it not even its physics starts."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, Literal

from vlascope.errors import NoRenderer

__all__ = ["INSTALL", "Device", "require_renderer"]

Device = Literal["cpu", "gpu"]

INSTALL = (
    "install a Vulkan driver:\n"
    "  Debian 12:  lavapipe from Mesa 25 in bookworm-backports (22.3 of bookworm is refused):\n"
    "    echo 'deb http://deb.debian.org/debian bookworm-backports main' "
    "> /etc/apt/sources.list.d/backports.list\n"
    "    apt-get update && apt-get install -t bookworm-backports libvulkan1 mesa-vulkan-drivers "
    "libdrm2\n"
    "  Debian 13, Ubuntu 24.04 or newer:  apt-get install libvulkan1 mesa-vulkan-drivers\n"
    "  NVIDIA, with device='gpu':  the driver's Vulkan part (libnvidia-gl, and in containers "
    "NVIDIA_DRIVER_CAPABILITIES=all)\n"
    "then ask again with:\n"
    "  python -c \"import sapien; sapien.render.RenderSystem(sapien.Device('cpu'))\""
)


def require_renderer(device: Device, start: Callable[[str], Any] | None = None) -> None:
    """Start and drop a render system on `device`.

    Args:
        device: `"cpu"` for a software driver, `"gpu"` for a CUDA device.
        start: takes SAPIEN's name of the device; SAPIEN's own render system by default.

    Raises:
        NoRenderer: there is none, and the message says what to install.
    """
    try:
        (start or _render_system)("cuda" if device == "gpu" else "cpu")
    except RuntimeError as error:
        raise NoRenderer(
            f"SimplerEnv cannot start: SAPIEN found no Vulkan device for device={device!r} "
            f"({error}), and it simulates nothing without one; {INSTALL}"
        ) from error


def _render_system(device: str) -> Any:
    """Ask SAPIEN itself: its `Device.can_render()` says False even where rendering works."""
    sapien = import_module("sapien")
    sapien.render.set_log_level("off")
    return sapien.render.RenderSystem(sapien.Device(device))
