"""The anatomy of a policy: counted truly, stable as JSON, readable on a terminal."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, replace

import pytest
import torch
from rich.console import Console
from torch import nn

from vlascope import plugins
from vlascope.anatomy import SCHEMA, count_parameters, draw, look
from vlascope.anatomy.drawing import folded, rounded
from vlascope.cli import main
from vlascope.hooks import HookPoint, TokenSpans
from vlascope.taps import InputTap, OutputTap, ResidualTap, single_token
from vlascope_adapters.toy.adapter import ToyAdapter

WIDE, NARROW = 100, 60


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


def test_the_toys_anatomy_is_what_is_known_of_it(toy):
    anatomy = look(toy)
    vlm = {p.declared.name: p for p in anatomy.pathways}["vlm"]
    assert vlm.sites["mlp_act"] == vlm.attention == (0, 1, 2, 3)
    assert folded(vlm) == ["vlm.3.*"]
    assert vlm.spans[0].spans["image.top"] == (0, 16)
    assert vlm.spans[0].tokens == 28
    assert (anatomy.points, len(anatomy.dead)) == (48, 6)
    assert anatomy.parameters.total == sum(p.numel() for p in toy.model.parameters())


def test_calls_that_see_other_tokens_are_told_apart(toy, monkeypatch):
    """As a vision tower that runs once a camera."""

    def spans(observations, *, call=0):
        stream = TokenSpans.of_lengths({f"image.{'left' if call < 2 else 'right'}": 4})
        return {"expert": (stream,), "expert.0.resid_pre": (TokenSpans.of_lengths({"x": 1}),)}

    monkeypatch.setattr(toy, "token_spans", spans)
    anatomy = look(toy)
    expert = anatomy.pathways[2]
    assert [(s.where, s.calls) for s in expert.spans] == [
        ("expert", (0, 1)), ("expert.0.resid_pre", (0, 1, 2, 3)), ("expert", (2, 3)),
    ]  # fmt: skip
    printed = drawn(anatomy)
    assert "tokens on call {0..1}: image.left[0:4]" in printed
    assert "tokens at expert.0.resid_pre: x[0]" in printed


def test_dead_points_are_folded_where_whole_blocks_are_dead(toy):
    vlm = look(toy).pathways[1]
    dead = [f"vlm.{layer}.{site}" for layer in (2, 3) for site in vlm.sites]
    some = ("vlm.0.mlp_act", "vlm.0.mlp_out", "vlm.1.mlp_act", "vlm.1.mlp_out", "vlm.final_norm")
    assert folded(replace(vlm, dead=(*dead, *some))) == [
        "vlm.{0..1}.{mlp_act,mlp_out}", "vlm.{2..3}.*", "vlm.final_norm",
    ]  # fmt: skip
    assert folded(replace(vlm, dead=("vlm.0.mlp_out", "vlm.2.mlp_out"))) == ["vlm.{0,2}.mlp_out"]


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (0, "0"), (999, "999"), (1000, "1.00 k"), (9999, "10.0 k"), (999_499, "999 k"),
        (999_500, "1.00 M"), (2_923_335_408, "2.92 B"), (1_100_000_000_000, "1100 B"),
    ],
)  # fmt: skip
def test_numbers_are_rounded_to_three_digits(number, shown):
    assert rounded(number) == shown


def drawn(anatomy, width=WIDE):
    console = Console(width=width, record=True, file=io.StringIO())
    draw(anatomy, "a summary", console)
    return console.export_text()


@pytest.mark.parametrize("width", [WIDE, NARROW])
@pytest.mark.parametrize("name", ["toy", "tinyvla"])
def test_everything_fits_a_terminal(name, width):
    anatomy = look(plugins.adapter_class(name).tiny())
    printed = drawn(anatomy, width)
    assert max(map(len, printed.splitlines())) <= width
    assert "…" not in printed
    for pathway in anatomy.pathways:
        assert f"{pathway.declared.name}.{{0.." in printed


def test_other_policies_are_drawn_too(toy):
    """Blocks of unequal width, no calls declared, no spans, no parameters told, a note."""
    anatomy = look(toy)
    vision, vlm, expert = anatomy.pathways
    odd = (
        replace(vision, declared=replace(vision.declared, block_widths=(8, 64)), parameters=None),
        replace(vlm, declared=replace(vlm.declared, calls_per_chunk=None, read_per_layer=True)),
        replace(expert, spans=(), named=("expert.action_head",), sites={"resid_post": (0,)}),
    )
    info = replace(anatomy.info, notes={"trained_on": "[toys]"})
    printed = drawn(replace(anatomy, pathways=odd, info=info))
    for said in ("8-64", "varies", "?", "read: by another", "expert.0: resid_post", "[toys]"):
        assert said in printed


@pytest.mark.parametrize(
    ("horizon", "executed", "said"),
    [
        (1, 1, "1 action, all executed"),
        (8, 8, "8 actions, all executed"),
        (8, 6, "8 actions, 6 ex"),
    ],
)
def test_a_chunk_is_said_in_words(toy, horizon, executed, said):
    anatomy = look(toy)
    info = replace(anatomy.info, horizon=horizon, executed_steps=executed)
    assert said in drawn(replace(anatomy, info=info))


def test_where_nothing_is_dead_nothing_is_said_of_the_dead(toy):
    anatomy = look(toy)
    alive = tuple(replace(pathway, dead=()) for pathway in anatomy.pathways)
    assert "48 hook points, none of them dead." in drawn(replace(anatomy, pathways=alive))


@pytest.fixture
def described(capsys):
    """Run the command; give (exit code, stdout, stderr)."""

    def run(*arguments):
        with pytest.raises(SystemExit) as stopped:
            main(["describe", *arguments])
        said = capsys.readouterr()
        return stopped.value.code or 0, said.out, said.err

    return run


def test_the_command_prints_the_tiny_policy(described):
    code, out, _ = described("toy")
    assert code == 0
    assert "tiny-0" in out
    assert "dead: vlm.3.*" in out


FIELDS = {
    "schema", "name", "checkpoint", "checkpoint_hash", "network", "dtypes", "capabilities",
    "horizon", "executed_steps", "action", "state", "cameras", "notes", "example_instruction",
    "pathways", "hook_points", "dead_points", "parameters",
}  # fmt: skip
PATHWAY_FIELDS = {
    "name", "n_layers", "width", "block_widths", "ffn_width", "calls_per_chunk", "mixes",
    "read_per_layer", "sites", "attention", "named_points", "dead_points", "token_spans",
    "hook_points", "parameters",
}  # fmt: skip


def test_the_json_has_a_stable_schema(described):
    found = json.loads(described("toy", "--checkpoint", "bundled", "--json")[1])
    assert found["schema"] == SCHEMA == "vlascope.anatomy/1"
    assert set(found) == FIELDS
    assert {frozenset(p) for p in found["pathways"]} == {frozenset(PATHWAY_FIELDS)}
    assert set(found["parameters"]) == {"total", "pathways", "elsewhere"}
    assert found["checkpoint"] == "bundled"
    (spans,) = found["pathways"][0]["token_spans"]
    assert spans == {"where": "vision", "calls": [0], "spans": {"image.top": [0, 16]}}
    assert found["action"]["names"] == ["x", "y"]


def test_what_upstream_prints_stays_out_of_the_json(described, monkeypatch):
    plain = ToyAdapter.tiny.__func__

    def chatty(cls, seed=0):
        print("loading...")
        return plain(cls, seed)

    monkeypatch.setattr(ToyAdapter, "tiny", classmethod(chatty))
    _, out, err = described("toy", "--json")
    assert json.loads(out)["name"] == "toy"
    assert "loading..." in err


def test_options_are_read_as_yaml_and_reach_the_adapter(described, monkeypatch):
    asked = {}

    def from_pretrained(cls, checkpoint, *, device, dtype, robot=None, strict=None):
        asked.update(checkpoint=checkpoint, dtype=dtype, robot=robot, strict=strict)
        return cls.tiny()

    monkeypatch.setattr(ToyAdapter, "from_pretrained", classmethod(from_pretrained))
    options = ("--option", "robot=libero", "--option", "strict=true", "--dtype", "bfloat16")
    code, _, err = described("toy", "--checkpoint", "a/b", *options)
    assert code == 0, err
    wanted = {"checkpoint": "a/b", "dtype": torch.bfloat16, "robot": "libero", "strict": True}
    assert asked == wanted


MISTAKES = {
    "adapter": (["toyy"], "did you mean 'toy'"),
    "checkpoint": (["toy", "--checkpoint", "bundle"], "did you mean 'bundled'"),
    "dtype": (["toy", "--dtype", "float33"], "did you mean 'float32'"),
    "option": (["toy", "--option", "robot"], "KEY=VALUE"),
    "flag": (["toy", "--option", "device=cpu"], "a place of its own"),
    "yaml": (["toy", "--option", "robot=[a"], "is not YAML"),
    "unknown": (["toy", "--checkpoint", "bundled", "--option", "robot=a"], "no option of adapter"),
    "tiny": (["toy", "--option", "robot=a"], "'tiny' weights take no options"),
}


@pytest.mark.parametrize(("arguments", "said"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_clear_message(described, monkeypatch, arguments, said):
    monkeypatch.setenv("COLUMNS", "200")
    code, out, err = described(*arguments)
    assert (code, out) == (2, "")
    assert said in err
    assert "Traceback" not in err
