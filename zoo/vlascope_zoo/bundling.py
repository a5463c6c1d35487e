"""For maintainers: put a trained and measured policy into the package.

`python -m vlascope_zoo.bundling TRAINING [EVALUATION]`, folders that `vlascope zoo train` and
`vlascope zoo evaluate` wrote.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from vlascope.errors import FileMissing
from vlascope_adapters.tinyvla.evaluation import SUCCESS
from vlascope_zoo.trained import CARD, Card, checkpoint_folder
from vlascope_zoo.training import CHECKPOINT

__all__ = ["bundle"]


def bundle(training: Path, evaluation: Path | None = None, *, into: Path | None = None) -> Path:
    """Copy all but what training goes on from, under the name on the card; gives the folder.

    Raises:
        FileMissing: the training has not finished, or the evaluation has not.
    """
    if not (training / CARD).is_file():
        raise FileMissing(f"{training} has no {CARD}: finish it with `vlascope zoo train`")
    if evaluation is not None and not (evaluation / SUCCESS).is_file():
        raise FileMissing(f"{evaluation} has no {SUCCESS}: finish it with `vlascope zoo evaluate`")
    card = Card.model_validate_json((training / CARD).read_text())
    place = into or checkpoint_folder(card.name)
    if place.exists():
        shutil.rmtree(place)
    left_out = shutil.ignore_patterns(CHECKPOINT, "*.partial")
    shutil.copytree(training, place, ignore=left_out)
    if evaluation is not None:
        shutil.copyfile(evaluation / SUCCESS, place / SUCCESS)
    for file in place.rglob("*"):
        file.chmod(0o755 if file.is_dir() else 0o644)
    return place


if __name__ == "__main__":
    print(bundle(*map(Path, sys.argv[1:3])))
