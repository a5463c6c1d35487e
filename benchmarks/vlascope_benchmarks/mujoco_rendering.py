"""Headless pictures of MuJoCo scenes: choose an OpenGL, and draw one model with it."""

from __future__ import annotations

import atexit
import ctypes
import os
import sys
import weakref
from collections.abc import Callable, MutableMapping, Sequence
from typing import Any, Literal, Self

import numpy as np

from vlascope.errors import NoRenderer
from vlascope.types import Image

__all__ = ["OffscreenRenderer", "RenderMode", "choose_backend", "import_mujoco"]

RenderMode = Literal["fast", "full"]

_EGL_PLATFORM_DEVICE = 0x313F
_open: weakref.WeakSet[OffscreenRenderer] = weakref.WeakSet()
"""Renderers to close before the interpreter, and with it the display, goes away."""

_INSTALL = (
    "install one of the two software renderers, on Debian or Ubuntu:\n"
    "  apt-get install libegl1 libopengl0 libgl1-mesa-dri    (EGL; MUJOCO_GL=egl)\n"
    "  apt-get install libosmesa6                            (OSMesa; MUJOCO_GL=osmesa)\n"
    "and unset MUJOCO_GL to let vlascope choose"
)


def choose_backend(environ: MutableMapping[str, str] = os.environ) -> str | None:
    """Set `MUJOCO_GL` to a headless backend that works here, unless the user has set it.

    MuJoCo reads the variable when it is first imported, so call this before that. On systems
    other than Linux MuJoCo's own default is kept.

    Args:
        environ: the variables to read and to change.

    Returns:
        The backend's name, `"egl"` before `"osmesa"`; None when neither library works (`MUJOCO_GL`
        is then `"disabled"`, so that physics still runs and only pictures are refused).
    """
    chosen = environ.get("MUJOCO_GL", "").strip().lower()
    if chosen or not sys.platform.startswith("linux"):
        return None if chosen in ("disable", "disabled", "off", "false", "0") else chosen
    for backend, works in (("egl", _egl_works), ("osmesa", _osmesa_works)):
        if works():
            environ["MUJOCO_GL"] = backend
            return backend
    environ["MUJOCO_GL"] = "disabled"
    return None


def import_mujoco() -> None:
    """Import MuJoCo for the first time, with a backend that works here.

    Raises:
        NoRenderer: the user's own `MUJOCO_GL` names a backend that is not installed.
        ModuleNotFoundError: MuJoCo itself is not installed.
    """
    choose_backend()
    try:
        import mujoco  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name != "mujoco":
            raise _no_renderer(error) from error
        raise ModuleNotFoundError(
            "this benchmark needs MuJoCo, which is not installed; "
            "install its extra, for MetaWorld: pip install 'vlascope[metaworld]'",
            name="mujoco",
        ) from error
    except Exception as error:  # MuJoCo loads the backend here, and each fails in its own way
        raise _no_renderer(error) from error


class OffscreenRenderer:
    """Draws one MuJoCo model off screen, at any size up to a limit.

    `"fast"` leaves out shadows, reflections and anti-aliasing, which is most of the cost of a
    software renderer. The mode is fixed at creation, because the buffers are made for it. Geoms of
    `hidden_groups` are not drawn.

    Raises:
        NoRenderer: no OpenGL context can be made; the message names the packages to install.
    """

    def __init__(
        self, model: Any, *, mode: RenderMode, max_size: int, hidden_groups: Sequence[int] = ()
    ) -> None:
        import mujoco

        _configure(model, mode, max_size)
        self._model = model
        self._context: Any = None
        self._context, self._resources = _start_gl(model, max_size)
        _close_at_exit(self)
        self._scene = mujoco.MjvScene(model, maxgeom=2000)
        self._options = mujoco.MjvOption()
        for group in hidden_groups:
            self._options.geomgroup[group] = 0
        if mode == "fast":
            for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
                self._scene.flags[flag] = 0

    def __call__(self, data: Any, *, camera: str, height: int, width: int) -> Image:
        """The scene in `data` as `camera` sees it: uint8 (height, width, 3), its top row first."""
        import mujoco

        if self._context is None:
            raise RuntimeError("this renderer is closed; make another one")
        view = mujoco.MjvCamera()
        view.type = mujoco.mjtCamera.mjCAMERA_FIXED
        view.fixedcamid = self._model.camera(camera).id
        self._context.make_current()
        everything = mujoco.mjtCatBit.mjCAT_ALL
        mujoco.mjv_updateScene(
            self._model, data, self._options, None, view, everything, self._scene
        )
        pixels = np.empty((height, width, 3), dtype=np.uint8)
        where = mujoco.MjrRect(0, 0, width, height)
        mujoco.mjr_render(where, self._scene, self._resources)
        mujoco.mjr_readPixels(pixels, None, where, self._resources)
        return pixels[::-1]

    def close(self) -> None:
        """Free the buffers and the OpenGL context; closing twice is fine."""
        context, self._context = self._context, None
        if context is not None:
            context.make_current()
            self._resources.free()
            context.free()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _close_at_exit(renderer: OffscreenRenderer) -> None:
    """Remember `renderer`; the first is registered after its display, so it is closed before it."""
    if not _open:
        atexit.unregister(_close_all)
        atexit.register(_close_all)
    _open.add(renderer)


def _close_all() -> None:
    for renderer in list(_open):
        renderer.close()


def _configure(model: Any, mode: RenderMode, max_size: int) -> None:
    """Write into the model what the buffers are made from."""
    if mode == "fast":
        model.vis.quality.shadowsize = 0
        model.vis.quality.offsamples = 0
    model.vis.global_.offwidth = max_size
    model.vis.global_.offheight = max_size


def _start_gl(model: Any, size: int) -> tuple[Any, Any]:
    """An OpenGL context of the backend in `MUJOCO_GL`, and the model's buffers in it."""
    import mujoco

    try:
        context = _context_class(_backend())(size, size)
        context.make_current()
        resources = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
    except Exception as error:  # every backend fails in its own way, down to AttributeError
        raise _no_renderer(error) from error
    mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, resources)
    return context, resources


def _backend() -> str:
    return os.environ.get("MUJOCO_GL", "").strip().lower()


def _no_renderer(error: Exception) -> NoRenderer:
    return NoRenderer(
        f"no picture can be drawn: MuJoCo found no working OpenGL "
        f"(MUJOCO_GL={_backend()!r}: {type(error).__name__}: {error}); {_INSTALL}"
    )


def _context_class(backend: str) -> Any:
    """The class for `backend`, even when MuJoCo was imported before the backend was chosen."""
    if backend == "egl":
        from mujoco.egl import GLContext as EglContext

        return EglContext
    if backend == "osmesa":
        from mujoco.osmesa import GLContext as OsmesaContext

        return OsmesaContext
    import mujoco

    if not hasattr(mujoco, "GLContext"):
        raise ImportError("rendering is disabled, or neither EGL nor OSMesa is installed")
    return mujoco.GLContext


def _egl_works() -> bool:
    """Whether some EGL device gives a display that starts, asked without binding PyOpenGL.

    OpenGL's own entry points come from a library apart (libOpenGL, or the older libGL).
    """
    if not _loads("libOpenGL.so.0", "libGL.so.1"):
        return False
    try:
        egl = ctypes.CDLL("libEGL.so.1")
        egl.eglGetProcAddress.restype = ctypes.c_void_p
        egl.eglInitialize.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]
        query = _egl_function(egl, b"eglQueryDevicesEXT", ctypes.c_uint)
        display_of = _egl_function(egl, b"eglGetPlatformDisplayEXT", ctypes.c_void_p)
    except (OSError, AttributeError):
        return False
    devices = (ctypes.c_void_p * 16)()
    count = ctypes.c_int(0)
    query(ctypes.c_int(16), devices, ctypes.byref(count))
    for device in devices[: count.value]:
        display = display_of(ctypes.c_uint(_EGL_PLATFORM_DEVICE), ctypes.c_void_p(device), None)
        if display and egl.eglInitialize(display, None, None):
            return True
    return False


def _egl_function(egl: ctypes.CDLL, name: bytes, result: Any) -> Callable[..., Any]:
    """An EGL extension function by name."""
    address = egl.eglGetProcAddress(name)
    if not address:
        raise AttributeError(name.decode())
    return ctypes.CFUNCTYPE(result)(address)


def _osmesa_works() -> bool:
    """Whether the OSMesa library loads."""
    return _loads("libOSMesa.so.8", "libOSMesa.so.6", "libOSMesa.so")


def _loads(*libraries: str) -> bool:
    """Whether any of the shared libraries loads."""
    for name in libraries:
        try:
            ctypes.CDLL(name)
        except OSError:
            continue
        return True
    return False
