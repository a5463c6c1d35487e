"""`vlascope sae show | export | import`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from vlascope.errors import FileMissing
from vlascope_sae.architectures import build
from vlascope_sae.cli.export import app
from vlascope_sae.files import Provenance, load_sae, save_sae
from vlascope_sae.interchange import read_foreign

DATA = Path(__file__).parent / "data"


def said(*arguments):
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def folder(tmp_path):
    sae = build({"architecture": "topk", "d_in": 6, "d_sae": 16, "k": 3, "normalise": "zscore"})
    sae.initialise(torch.randn(100, 6, generator=torch.Generator().manual_seed(0)) * 3 + 1)
    about = Provenance(adapter="toy", hook_point="vlm.1.resid_post", spans=("state",), pool="mean")
    return save_sae(tmp_path / "sae", sae, about)


def test_show_says_what_it_is_and_what_it_was_trained_on(folder):
    text = said("show", folder)
    for part in ("topk, 6 -> 16 latents", "zscore", "vlm.1.resid_post", "state; pool mean", "k=3"):
        assert part in text
    assert json.loads(said("show", folder, "--json"))["provenance"]["adapter"] == "toy"


def test_export_writes_saelens_layout_and_says_what_it_folded(folder, tmp_path):
    text = said("export", folder, "--to", "saelens", "--out", tmp_path / "out")
    assert "zscore normalisation is folded" in text
    x = torch.randn(20, 6)
    there, here = read_foreign(tmp_path / "out").sae, load_sae(folder).sae
    torch.testing.assert_close(there(x), here(x), rtol=1e-5, atol=1e-5)


def test_import_keeps_another_librarys_autoencoder(tmp_path):
    said("import", DATA / "sparsify" / "topk", "--out", tmp_path / "mine")
    assert "read from      sparsify" in said("show", tmp_path / "mine")


def test_a_folder_without_an_autoencoder_is_one_clear_error(tmp_path):
    with pytest.raises(FileMissing, match="there is no SAE"):
        said("show", tmp_path)


def test_help_needs_no_torch():
    code = "import sys; import vlascope_sae.cli.export; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
