"""Processes that train together learn what one learns alone."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from vlascope_sae.files import load_sae

_CHILD = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
sys.path.insert(0, sys.argv[2])
from test_training import planted, spec, topk
from vlascope_sae.training import TensorSource, Trainer
x = planted()
x[::100] *= 1000
saes = {"topk": topk(), "layer_norm": topk(normalise="layer_norm", decoder_bias=False)}
wanted = spec(samples=12_800, batch_size=128, validate_every=3200, log_every=3200)
Trainer([(TensorSource(x, name="x"), saes)], wanted, Path(sys.argv[1])).run()
"""


def _train(folder, processes):
    """Start the processes as `torchrun` does, and wait for them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    here = str(Path(__file__).parent)
    children = [
        subprocess.Popen(
            [sys.executable, "-c", _CHILD, str(folder), here],
            env={
                **os.environ,
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": str(processes),
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
                "OMP_NUM_THREADS": "1",
            },
        )
        for rank in range(processes)
    ]
    assert [child.wait(timeout=120) for child in children] == [0] * processes


@pytest.mark.slow
def test_two_processes_give_the_result_of_one(tmp_path):
    for processes in (1, 2):
        _train(tmp_path / str(processes), processes)
    for name in ("topk", "layer_norm"):
        one, two = (load_sae(tmp_path / n / "x" / name).sae.state_dict() for n in "12")
        for part, value in one.items():
            assert torch.allclose(value, two[part], rtol=1e-3, atol=1e-4), (name, part)
    logs = [(tmp_path / n / "metrics.jsonl").read_text().count("\n") for n in "12"]
    assert logs[0] == logs[1] > 0
