"""A comparison file names pairs of entries whose difference claims are about."""

from __future__ import annotations

from pathlib import Path

import pytest

from vlascope.comparison.claims import load_claims
from vlascope.comparison.loading import load_comparison
from vlascope.errors import StudyFileError

TOYS = Path(__file__).parent / "toys.yaml"


def written(tmp_path, pair):
    path = tmp_path / "toys.yaml"
    path.write_text(f"{TOYS.read_text()}\ncontrasts:\n  many_minus_few: {pair}\n")
    return path


def test_a_pair_is_named_in_the_file_and_known_to_a_claim(tmp_path):
    file = load_comparison(written(tmp_path, "[toy, noisy]"))
    assert file.contrasts == {"many_minus_few": ("toy", "noisy")}
    asked = {test.contrast for claim in load_claims() for test in claim.tests if test.contrast}
    assert asked == set(file.contrasts)


def test_an_entry_that_is_not_there_is_refused_with_the_nearest(tmp_path):
    with pytest.raises(StudyFileError, match=r"toys\.yaml:\d+:\d+.*did you mean 'noisy'"):
        load_comparison(written(tmp_path, "[toy, noissy]"))
