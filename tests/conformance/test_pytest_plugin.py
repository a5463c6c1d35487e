"""A third party's conformance test is one line, and other test runs pay nothing for it."""

from __future__ import annotations

import subprocess
import sys

import pytest

ONE_LINE = "from vlascope.conformance.suite import test_adapter  # noqa: F401\n"


@pytest.fixture
def run_pytest(tmp_path):
    def run(source, *options):
        (tmp_path / "test_it.py").write_text(source)
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options, "test_it.py"]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    return run


def test_one_line_gives_one_id_per_check(run_pytest):
    done = run_pytest(ONE_LINE, "--vlascope-adapter", "toy", "-v", "-k", "names or chunk")
    assert done.returncode == 0, done.stdout
    assert "test_adapter[toy-names_round_trip] PASSED" in done.stdout
    assert "test_adapter[toy-chunk_matches_info] PASSED" in done.stdout


def test_a_failure_is_told_without_a_traceback(run_pytest):
    broken = ONE_LINE + (
        "from vlascope_adapters.toy.adapter import ToyAdapter\n"
        "ToyAdapter.token_spans = lambda self, observations, call=0: {}\n"
    )
    done = run_pytest(broken, "--vlascope-adapter", "toy", "-k", "token_spans")
    assert done.returncode == 1
    assert "return one TokenSpans per row" in done.stdout
    assert "Traceback" not in done.stdout


def test_an_unrelated_run_imports_no_torch(run_pytest):
    source = "import sys\n\ndef test_it():\n    assert 'torch' not in sys.modules\n"
    done = run_pytest(source, "-W", "error")
    assert done.returncode == 0, done.stdout
