"""The anatomy of a policy: true, stable as JSON, readable on a terminal."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest
import torch
from rich.console import Console

from vlascope import plugins
from vlascope.anatomy import SCHEMA, draw, look
from vlascope.anatomy.drawing import folded, rounded
from vlascope.cli import main
from vlascope.hooks import TokenSpans
from vlascope_adapters.toy.adapter import ToyAdapter

WIDE, NARROW = 100, 60


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
