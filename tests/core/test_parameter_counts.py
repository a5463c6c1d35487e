"""Parameters belong to the pathway whose hook points alone lie in their module."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from vlascope.anatomy import count_parameters
from vlascope.hooks import HookPoint
from vlascope.taps import InputTap, OutputTap, ResidualTap, single_token


class Tower(nn.Module):
    """Two blocks of 6 parameters each, and an embedding of 10."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(5, 2)
        self.layers = nn.ModuleList(
            nn.ModuleDict({"norm": nn.LayerNorm(1), "mlp": nn.Linear(1, 2)}) for _ in range(2)
        )


class Model(nn.Module):
    """Two towers (22 each), a projector (6), a head tied to an embedding, a bare parameter (3)."""

    def __init__(self) -> None:
        super().__init__()
        self.vlm, self.expert = Tower(), Tower()
        self.projector, self.head = nn.Linear(2, 2), nn.Linear(2, 5, bias=False)
        self.head.weight = self.vlm.embed.weight
        self.prompt = nn.Parameter(torch.zeros(3))


def taps(**more):
    blocks = {
        HookPoint(pathway, layer, "resid_post"): ResidualTap(
            f"{pathway}.layers.{layer}.norm", f"{pathway}.layers.{layer}.mlp"
        )
        for pathway in ("vlm", "expert")
        for layer in range(2)
    }
    return {**blocks, **{HookPoint.parse(k.replace("_", ".", 1)): v for k, v in more.items()}}


def test_a_pathway_has_what_lies_under_its_own_hook_points_alone():
    shares = count_parameters(Model(), taps())
    assert shares.pathways["vlm"].modules == ("vlm",)
    assert shares.pathways["expert"].number == 22
    assert shares.elsewhere.modules == ("prompt", "projector")
    assert shares.elsewhere.number == 3 + 6


def test_a_parameter_with_two_names_is_counted_once():
    model = Model()
    shares = count_parameters(model, taps())
    assert shares.total == sum(p.numel() for p in model.parameters()) == 22 + 22 + 6 + 3
    own = sum(count.number for count in shares.pathways.values())
    assert own + shares.elsewhere.number == shares.total


def test_a_named_point_brings_its_module():
    shares = count_parameters(Model(), taps(vlm_projector=single_token(OutputTap("projector"))))
    assert shares.pathways["vlm"].modules == ("vlm", "projector")
    assert shares.pathways["vlm"].number == 28


def test_a_module_of_two_pathways_is_nobodys():
    shares = count_parameters(
        Model(), taps(vlm_out=InputTap("projector"), expert_in=InputTap("projector"))
    )
    assert "projector" in shares.elsewhere.modules
    assert shares.pathways["vlm"].number == 22


def test_a_keyword_is_no_module():
    shares = count_parameters(Model(), taps(vlm_out=InputTap("projector", argument="head")))
    assert shares.pathways["vlm"].modules == ("vlm", "projector")


@dataclass(frozen=True)
class Mixed:
    """A tap of an adapter's own."""

    branches: tuple[str, ...]
    gate: float = 1.0


def test_a_tap_of_ones_own_is_read_by_its_fields():
    shares = count_parameters(Model(), taps(vlm_out=Mixed(("projector", "no.such.module"))))
    assert shares.pathways["vlm"].number == 28


def test_taps_that_name_no_module_tell_no_count():
    class Closed:
        pass

    shares = count_parameters(Model(), {HookPoint("vlm", 0, "resid_post"): Closed()})
    assert dict(shares.pathways) == {}
    assert shares.elsewhere.number == shares.total


def test_a_single_pathway_has_everything():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    shares = count_parameters(model, {HookPoint("trunk", 0, "resid_post"): OutputTap("0")})
    assert shares.pathways["trunk"].modules == ("",)
    assert (shares.pathways["trunk"].number, shares.elsewhere.number) == (12, 0)
