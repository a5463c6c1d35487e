"""Penalised architectures fire as often as asked, whatever the weight of the penalty."""

import pytest
import torch
from planted import plant
from pydantic import ValidationError

from vlascope_sae.architectures import build
from vlascope_sae.architectures.standard import StandardConfig
from vlascope_sae.sparsity import PenalisedSAE
from vlascope_sae.training import TensorSource, TrainingSpec, train

NAMES = ("standard", "jumprelu", "gated")
NORMALISATIONS = ("none", "zscore", "layer_norm")
TARGET = 3.0
"""Fewer than the four that are planted: where fewer suffice, no penalty makes more of them fire."""


@pytest.fixture(scope="module")
def rows():
    return plant(32, 64, 12_000, active=4.0, outliers=0.0).rows


def asked(architecture, **more):
    config = {"architecture": architecture, "d_in": 32, "d_sae": 96, "target_l0": TARGET}
    return build(config | more)


@pytest.mark.parametrize("normalise", NORMALISATIONS)
@pytest.mark.parametrize("architecture", NAMES)
def test_as_many_latents_fire_at_the_start_as_are_asked_for(rows, architecture, normalise):
    sae = asked(architecture, normalise=normalise).initialise(rows[:4000])
    assert (sae.encode(rows[4000:6000]) > 0).sum(1).float().mean() == pytest.approx(TARGET, rel=0.1)


@pytest.mark.parametrize("weight", [0.02, 0.5])
@pytest.mark.parametrize("architecture", NAMES)
def test_as_many_fire_at_the_end_wherever_the_weight_starts(rows, architecture, weight):
    config = asked(architecture, normalise="zscore", sparsity_weight=weight).config
    source = TensorSource(rows, name="rows", validation=0.1)
    spec = TrainingSpec(samples=40_000, batch_size=100, device="cpu")
    result = train(source, {"sae": config}, spec)["sae"]
    assert result.fit.l0 == pytest.approx(TARGET, rel=0.2)
    assert result.fit.fvu < 0.9
    assert "pressure" not in result.sae.state_dict()  # no part of what is saved


def test_the_pressure_follows_the_excess_and_rests_at_the_target():
    sae = asked("standard")
    assert isinstance(sae, PenalisedSAE)
    sae.steer(torch.tensor(TARGET), progress=0.5, steps=1000)
    assert sae.pressure == pytest.approx(1.0)
    sae.steer(torch.tensor(2 * TARGET), progress=0.01, steps=1000)  # the penalty is warming up
    assert sae.pressure == pytest.approx(1.0)
    sae.steer(torch.tensor(2 * TARGET), progress=0.5, steps=1000)
    assert sae.pressure > 1
    sae.steer(torch.tensor(0.0), progress=0.5, steps=1000)
    assert sae.pressure < 1


def test_a_target_out_of_reach_is_refused():
    with pytest.raises(ValidationError, match=r"target_l0 = 96\.0 of d_sae = 96"):
        StandardConfig(d_in=32, d_sae=96, target_l0=96)
    with pytest.raises(ValidationError, match="sparsity_weight above 0"):
        StandardConfig(d_in=32, d_sae=96, target_l0=4, sparsity_weight=0)
