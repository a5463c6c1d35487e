"""Training learns, several autoencoders in one pass, and interruptions leave no trace."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from vlascope.errors import (
    CorruptFile,
    DiskFull,
    IncompatibleError,
    RunLocked,
    UnusableActivations,
)
from vlascope.rollout.lock import exclusive
from vlascope.store import durable
from vlascope_sae.architectures import sae_class
from vlascope_sae.architectures.topk import TopKConfig
from vlascope_sae.files import load_sae
from vlascope_sae.training import IteratorSource, TensorSource, Trainer, TrainingSpec, train
from vlascope_sae.training.checkpoint import CHECKPOINT

D, F, K = 16, 64, 4


def planted(rows=4000, seed=0, offset=5.0):
    """Sparse sums of more directions than dimensions, far from the origin."""
    generator = torch.Generator().manual_seed(seed)
    directions = torch.randn(F, D, generator=generator)
    directions /= directions.norm(dim=1, keepdim=True)
    fires = torch.rand(rows, F, generator=generator) < 3 / F
    return (fires * (1 + torch.rand(rows, F, generator=generator))) @ directions + offset


def topk(**kwargs):
    return TopKConfig(**{"d_in": D, "d_sae": F, "k": K, "dead_after": 2000, **kwargs})


def spec(**kwargs):
    wanted = {"samples": 6400, "batch_size": 128, "lr": 3e-3, "device": "cpu", "sample_rows": 1000}
    return TrainingSpec(**{**wanted, **kwargs})


def source(name="x", **kwargs):
    return TensorSource(planted(**kwargs), name=name)


def weights(results):
    return {n: {k: v.clone() for k, v in r.sae.state_dict().items()} for n, r in results.items()}


def assert_equal(left, right):
    assert left.keys() == right.keys()
    for name in left:
        for part, value in left[name].items():
            assert torch.equal(value, right[name][part]), f"{name} {part}"


def test_training_explains_most_of_held_out_variance_and_says_so(tmp_path):
    untrained = train(source(), {"a": topk()}, spec(samples=1, lr=1e-9))["a"].fit
    results = train(source(), {"a": topk()}, spec(samples=40_000, log_every=8000), tmp_path)
    fit = results["a"].fit
    assert fit.fvu < 0.8 * untrained.fvu
    assert fit.l0 <= K
    assert fit.rows == 400
    saved = load_sae(tmp_path / "x" / "a").sae
    x = planted(seed=1)
    assert torch.equal(saved(x), results["a"].sae(x))
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert {"samples", "sae", "loss", "l0", "dead"} <= set(lines[-1])
    assert len(lines) == 5
    assert lines[-1]["loss"] < 0.9 * lines[0]["loss"]
    found = json.loads((tmp_path / "results.json").read_text())
    assert found["x/a"]["fit"]["fvu"] == fit.fvu


def test_several_autoencoders_in_one_pass_learn_what_each_learns_alone():
    saes = {"a": topk(), "b": topk(k=2, normalise="zscore", seed=1)}
    sources = [source("x"), source("y", seed=3)]
    together = weights(Trainer([(s, saes) for s in sources], spec()).run())
    assert list(together) == ["x/a", "x/b", "y/a", "y/b"]
    alone = weights(Trainer([(sources[1], {"b": saes["b"]})], spec()).run())
    assert_equal(alone, {"y/b": together["y/b"]})


def test_rates_warm_up_and_fall():
    cosine = spec(lr=1.0, warmup=0.1, schedule="cosine", final_lr=0.1)
    assert [cosine.rate(p) for p in (0, 0.05, 0.1)] == [0, 0.5, 1]
    assert cosine.rate(0.55) == pytest.approx(0.55)
    assert cosine.rate(1) == pytest.approx(0.1)
    linear = spec(lr=1.0, warmup=0.0, schedule="linear")
    assert [linear.rate(p) for p in (0, 0.25, 1)] == [1, 0.75, 0]
    assert spec(lr=1.0, warmup=0.0, schedule="constant").rate(0.9) == 1


def test_dead_latents_are_counted_in_samples_not_in_steps():
    silent = {}
    for batch in (64, 128):
        trainer = Trainer([(source(), {"a": topk()})], spec(batch_size=batch))
        trainer.run()
        silent[batch] = trainer.sites[0].trainees[0].silent
        assert int(silent[batch].max()) <= 6400
        assert bool((silent[batch] % batch == 0).all())


def test_stopping_and_going_on_is_the_same_as_never_stopping(tmp_path):
    whole = {"samples": 6400, "validate_every": 1000, "log_every": 500, "patience": 50}
    saes = {"a": topk(), "b": topk(normalise="unit_norm", k=2)}
    through = Trainer([(source(), saes)], spec(**whole), tmp_path / "through").run()
    for until in (1, 17, 18, 43):
        assert Trainer([(source(), saes)], spec(**whole), tmp_path / "cut").run(until=until) == {}
    resumed = Trainer([(source(), saes)], spec(**whole), tmp_path / "cut").run()
    assert_equal(weights(through), weights(resumed))
    logs = [(tmp_path / n / "metrics.jsonl").read_text() for n in ("through", "cut")]
    assert logs[0] == logs[1]
    again = Trainer([(source(), saes)], spec(**whole), tmp_path / "cut").run()
    assert_equal(weights(through), weights(again))


_CHILD = """
import sys, torch
from pathlib import Path
torch.set_num_threads(1)
sys.path.insert(0, sys.argv[2])
from test_training import source, spec, topk
from vlascope_sae.training import Trainer
Trainer([(source(), {"a": topk()})], spec(samples=100_000, checkpoint_every=1024),
    Path(sys.argv[1])).run()
"""


@pytest.mark.slow
def test_a_killed_training_goes_on_from_its_checkpoint_bit_by_bit(tmp_path):
    command = [sys.executable, "-c", _CHILD, str(tmp_path / "cut"), str(Path(__file__).parent)]
    for kill in (True, False):
        child = subprocess.Popen(command)
        checkpoint = tmp_path / "cut" / CHECKPOINT
        while kill and not checkpoint.exists():
            assert child.poll() is None
            time.sleep(0.005)
        if kill:
            time.sleep(0.3)
            os.kill(child.pid, signal.SIGKILL)
        child.wait(timeout=120)
        assert child.returncode == (-signal.SIGKILL if kill else 0)
        assert kill == (not (tmp_path / "cut" / "results.json").exists())
    wanted = spec(samples=100_000, checkpoint_every=1024)
    through = train(source(), {"a": topk()}, wanted)
    resumed = load_sae(tmp_path / "cut" / "x" / "a").sae.state_dict()
    for name, value in through["a"].sae.state_dict().items():
        assert torch.equal(value, resumed[name]), name


def test_a_full_disk_loses_only_the_unfinished_checkpoint(tmp_path, monkeypatch):
    saes, wanted = {"a": topk()}, spec(checkpoint_every=1280)
    Trainer([(source(), saes)], wanted, tmp_path).run(until=10)
    before = (tmp_path / CHECKPOINT).read_bytes()
    with monkeypatch.context() as patched:

        def full(descriptor):
            raise OSError(errno.ENOSPC, "No space left on device")

        patched.setattr(durable.os, "fsync", full)
        with pytest.raises(DiskFull):
            Trainer([(source(), saes)], wanted, tmp_path).run()
    assert (tmp_path / CHECKPOINT).read_bytes() == before
    assert not list(tmp_path.glob(".checkpoint*"))
    resumed = Trainer([(source(), saes)], wanted, tmp_path).run()
    assert_equal(weights(resumed), weights(Trainer([(source(), saes)], wanted).run()))


def test_early_stopping_keeps_the_best_weights():
    wanted = spec(samples=64_000, lr=1e-2, validate_every=1280, patience=2, min_delta=0.02)
    trainer = Trainer([(source(), {"a": topk()})], wanted)
    result = trainer.run()["x/a"]
    trainee = trainer.sites[0].trainees[0]
    assert trainee.stopped
    assert trainer.step < wanted.steps
    assert result.fit.fvu == pytest.approx(trainee.best, rel=1e-9)


def test_another_training_or_a_broken_checkpoint_is_refused(tmp_path):
    Trainer([(source(), {"a": topk()})], spec(), tmp_path).run(until=2)
    with pytest.raises(IncompatibleError, match=r"lr: 0\.003 there, 0\.1 now"):
        Trainer([(source(), {"a": topk()})], spec(lr=0.1), tmp_path).run()
    with exclusive(tmp_path), pytest.raises(RunLocked, match="being written"):
        Trainer([(source(), {"a": topk()})], spec(), tmp_path).run()
    (tmp_path / CHECKPOINT).write_bytes(b"torn")
    with pytest.raises(CorruptFile, match="delete it"):
        Trainer([(source(), {"a": topk()})], spec(), tmp_path).run()


def test_bad_activations_and_widths_are_refused_by_name():
    bad = planted()
    bad[1234] = float("nan")
    with pytest.raises(UnusableActivations, match=r"1 of .* rows hold NaN"):
        train(TensorSource(bad), {"a": topk()}, spec())
    with pytest.raises(UnusableActivations, match="equal"):
        train(TensorSource(torch.ones(500, D)), {"a": topk()}, spec())
    with pytest.raises(IncompatibleError, match="16 wide"):
        train(source(), {"a": topk(d_in=8)}, spec())
    with pytest.raises(IncompatibleError, match="learns from rows, tensor gives pairs"):
        train(TensorSource(torch.randn(50, 2, D)), {"a": topk()}, spec())
    with pytest.raises(ValueError, match="validate_every"):
        spec(patience=3)


def test_outlier_rows_neither_stop_learning_nor_go_unmentioned():
    x = planted()
    x[::100] *= 1000
    result = train(TensorSource(x), {"a": topk()}, spec(samples=40_000))["a"]
    assert result.fit.fvu < 0.2
    assert 0.008 * 40_000 < result.dropped < 0.012 * 40_000
    assert result.fit.dropped > 0


def test_rows_may_come_from_an_iterator():
    x = planted()
    rows = IteratorSource(lambda: x[:3600].split(500), x[3600:])
    result = train(rows, {"a": topk()}, spec(samples=40_000))["a"]
    assert result.fit.fvu < 0.2


def test_half_precision_learns_as_well():
    exact, half = (
        train(source(), {"a": topk(precision=p)}, spec(samples=20_000))["a"].fit.fvu
        for p in ("full", "bf16")
    )
    assert half < 1.2 * exact


@pytest.mark.parametrize(
    "fields",
    [
        {"architecture": "standard"},
        {"architecture": "batch_topk", "k": K},
        {"architecture": "jumprelu"},
        {"architecture": "gated"},
        {"architecture": "matryoshka", "k": K},
        {"architecture": "temporal", "k": K},
    ],
    ids=lambda fields: fields["architecture"],
)
def test_every_architecture_goes_on_bit_by_bit(tmp_path, fields):
    config = sae_class(fields["architecture"]).config_class(
        **{**fields, "d_in": D, "d_sae": F, "dead_after": 500}
    )
    rows = planted()
    pairs = torch.stack([rows[:-1], rows[1:]], 1)
    data = TensorSource(pairs if fields["architecture"] == "temporal" else rows, name="x")
    wanted = spec(samples=2560)
    sites = [(data, {"a": config})]
    through = Trainer(sites, wanted).run()
    Trainer(sites, wanted, tmp_path).run(until=9)
    assert_equal(weights(through), weights(Trainer(sites, wanted, tmp_path).run()))
