"""Functions that worker processes import to perturb pictures."""

from __future__ import annotations

import pytest

_MODULE = """
def darken(camera, picture):
    return picture // 2
"""


@pytest.fixture(scope="session", autouse=True)
def perturbing_functions(tmp_path_factory):
    folder = tmp_path_factory.mktemp("importable")
    (folder / "perturbing_functions.py").write_text(_MODULE)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        patch.setenv("PYTHONPATH", str(folder), prepend=":")
        yield
