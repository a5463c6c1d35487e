"""Each adapter check can fail: one broken adapter per promise, and what its author is told."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass, replace

import pytest
import torch

from vlascope import conformance, intervening
from vlascope.hooks import HookPoint
from vlascope.taps import InputTap, OutputTap
from vlascope.types import ActionChunk
from vlascope_adapters.toy.adapter import ToyAdapter


class ShortChunk(ToyAdapter):
    def predict_chunk(self, observations, *, generators):
        return ActionChunk(
            super().predict_chunk(observations, generators=generators).actions[:, :2]
        )


class GlobalNoise(ToyAdapter):
    def predict_chunk(self, observations, *, generators):
        actions = super().predict_chunk(observations, generators=generators).actions
        return ActionChunk(actions + 0.01 * torch.randn(actions.shape).numpy())


class MixesRows(ToyAdapter):
    def predict_chunk(self, observations, *, generators):
        actions = super().predict_chunk(observations, generators=generators).actions
        return ActionChunk(actions - 0.1 * actions.mean(axis=0))


class WritesIntoObservation(ToyAdapter):
    def predict_chunk(self, observations, *, generators):
        for observation in observations:
            observation.state["position"][:] *= 0.5
        return super().predict_chunk(observations, generators=generators)


class KeepsItsQueue(ToyAdapter):
    def reset(self):
        pass


class Remembers(ToyAdapter):
    last = 0.0

    def predict_chunk(self, observations, *, generators):
        actions = super().predict_chunk(observations, generators=generators).actions + self.last
        self.last = float(actions.mean())
        return ActionChunk(actions)


class Blind(ToyAdapter):
    def predict_chunk(self, observations, *, generators):
        dark = [replace(o, images={n: 0 * i for n, i in o.images.items()}) for o in observations]
        return super().predict_chunk(dark, generators=generators)


class Deaf(ToyAdapter):
    def predict_chunk(self, observations, *, generators):
        silent = [replace(o, instruction="") for o in observations]
        return super().predict_chunk(silent, generators=generators)


class Numb(ToyAdapter):
    def predict_chunk(self, observations, *, generators):
        numb = [replace(o, state={n: 0 * s for n, s in o.state.items()}) for o in observations]
        return super().predict_chunk(numb, generators=generators)


class NoHash(ToyAdapter):
    def __init__(self, model, checkpoint):
        super().__init__(model, checkpoint)
        self.info = replace(self.info, checkpoint_hash="")


class HashesTheName(ToyAdapter):
    def __init__(self, model, checkpoint):
        super().__init__(model, checkpoint)
        self.info = replace(self.info, checkpoint_hash="toy")


class OtherName(ToyAdapter):
    def __init__(self, model, checkpoint):
        super().__init__(model, checkpoint)
        self.info = replace(self.info, name="another")


class OutsideLayers(ToyAdapter):
    def hook_points(self):
        return {**super().hook_points(), HookPoint("vlm", 9, "resid_post"): OutputTap("vlm.0")}


class MissingLayer(ToyAdapter):
    def hook_points(self):
        points = super().hook_points()
        return {p: t for p, t in points.items() if str(p) != "vlm.1.resid_post"}


class WrongCalls(ToyAdapter):
    def __init__(self, model, checkpoint):
        super().__init__(model, checkpoint)
        pathways = [replace(p, calls_per_chunk=1) for p in self.info.pathways]
        self.info = replace(self.info, pathways=tuple(pathways))


class WrongWidth(ToyAdapter):
    def __init__(self, model, checkpoint):
        super().__init__(model, checkpoint)
        pathways = [replace(p, ffn_width=7) for p in self.info.pathways]
        self.info = replace(self.info, pathways=tuple(pathways))


@dataclass(frozen=True)
class Around:
    """A tap around another, with a change of how it writes."""

    inner: OutputTap
    change: object
    keep_handles: bool = True

    def attach(self, model, edit):
        handles = self.inner.attach(model, lambda value: self.change(value, edit))
        return handles if self.keep_handles else []


def at(adapter_points, name, tap):
    return {p: (tap(t) if str(p) == name else t) for p, t in adapter_points.items()}


class Disturbs(ToyAdapter):
    def hook_points(self):
        def scaled(value, edit):
            new = edit(value)
            return value * 1.01 if new is None else new

        return at(super().hook_points(), "vlm.1.resid_post", lambda t: Around(t, scaled))


class KeepsHooks(ToyAdapter):
    def hook_points(self):
        def plain(value, edit):
            return edit(value)

        tap = super().hook_points()[HookPoint.parse("vlm.1.resid_post")]
        return at(super().hook_points(), "vlm.1.resid_post", lambda _: Around(tap, plain, False))


class RecordsWithoutClones(ToyAdapter):
    @contextmanager
    def record(self, at):
        with super().record(at) as cache:
            self.__dict__["cache"] = cache
            yield cache

    def predict_chunk(self, observations, *, generators):
        for point in self.__dict__.get("cache", ()):
            for captured in self.cache[point]:
                for row in captured.rows:
                    row.zero_()
        return super().predict_chunk(observations, generators=generators)


class NoSpans(ToyAdapter):
    def token_spans(self, observations, *, call=0):
        return {}


class SpansTooShort(ToyAdapter):
    def token_spans(self, observations, *, call=0):
        spans = super().token_spans(observations, call=call)
        return {**spans, "vlm": spans["vision"]}


class HidesDeadSites(ToyAdapter):
    def dead_points(self):
        return frozenset()


class CallsLiveSitesDead(ToyAdapter):
    def dead_points(self):
        return frozenset({HookPoint.parse("vlm.1.resid_post")})


class LeaksOnException(ToyAdapter):
    @contextmanager
    def intervene(self, *interventions):
        manager = intervening.intervene(self, *interventions)
        self.__dict__.setdefault("kept", []).append(manager)
        yield manager.__enter__()
        manager.__exit__(None, None, None)


class WritesThroughTheNextNorm(ToyAdapter):
    """Reads the stream truly, writes it into the next block's first branch alone."""

    def hook_points(self):
        def through(point, tap):
            return InputTap(f"{point.pathway}.{point.layer + 1}.attention")

        last = {p.name: p.n_layers - 1 for p in self.info.pathways}
        return {
            p: through(p, t) if p.site == "resid_post" and p.layer < last[p.pathway] else t
            for p, t in super().hook_points().items()
        }


class AddsTheSkipTwiceAtTheLastLayer(ToyAdapter):
    def hook_points(self):
        def twice(value, edit):
            new = edit(value)
            return None if new is None else new + 0.5 * value

        return at(super().hook_points(), "expert.1.resid_post", lambda t: Around(t, twice))


class WritesNowhereAtTheLastLayer(ToyAdapter):
    def hook_points(self):
        def lost(value, edit):
            edit(value)

        return at(super().hook_points(), "expert.1.resid_post", lambda t: Around(t, lost))


class WritesTheFirstRowOnly(ToyAdapter):
    def hook_points(self):
        def first(value, edit):
            new = edit(value)
            return None if new is None else torch.cat([new[:1], value[1:]])

        return at(super().hook_points(), "vision.1.resid_post", lambda t: Around(t, first))


class LosesTheEditOnItsWayToTheExpert(ToyAdapter):
    """The last live layer reads back what was written, and the policy acts on something else."""

    def hook_points(self):
        name = "vlm.2.resid_post"
        return at(super().hook_points(), name, lambda _: InputTap("vlm.3.attention"))


class TooFewTokens(ToyAdapter):
    def unembedding(self):
        matrix, tokens = super().unembedding()
        return matrix, tokens[:-1]


class TransposedValues(ToyAdapter):
    def value_vectors(self, layer):
        return super().value_vectors(layer).T


class DetachedGradients(ToyAdapter):
    def differentiable_actions(self, observations, *, generators):
        actions = super().differentiable_actions(observations, generators=generators)
        return actions.detach().requires_grad_()


class DeclaresTooMuch(ToyAdapter):
    capabilities = frozenset({"mind_reading"})


class DeclaresTooLittle(ToyAdapter):
    capabilities = frozenset({"unembedding", "value_vectors", "attention"})


BROKEN = [
    (ShortChunk, "chunk_matches_info", "horizon"),
    (GlobalNoise, "same_generator_same_actions", "vlascope.noise.normal"),
    (MixesRows, "rows_are_independent", "padding"),
    (WritesIntoObservation, "observation_unchanged", "copy"),
    (KeepsItsQueue, "reset_forgets", "super"),
    (Remembers, "reset_forgets", "keep no state"),
    (Blind, "image_reaches_the_action", "'top'.*info.cameras"),
    (Deaf, "instruction_reaches_the_action", "tokenizer"),
    (Numb, "state_reaches_the_action", "info.state"),
    (NoHash, "info_is_json", "sha256"),
    (HashesTheName, "info_is_json", "not the name"),
    (OtherName, "specs_declared", "named 'toy'"),
    (OutsideLayers, "names_round_trip", "4 layers"),
    (MissingLayer, "names_round_trip", r"layers \[1\]"),
    (WrongCalls, "points_fire_as_declared", "calls_per_chunk"),
    (WrongWidth, "points_fire_as_declared", "ffn_width"),
    (Disturbs, "looking_changes_nothing", "return None"),
    (RecordsWithoutClones, "recording_clones", "clone"),
    (NoSpans, "token_spans_cover_the_sequence", "one TokenSpans per row"),
    (SpansTooShort, "token_spans_cover_the_sequence", "name every token"),
    (HidesDeadSites, "edits_change_actions", r"vlm.3.*dead_points\(\)"),
    (CallsLiveSitesDead, "dead_sites_are_dead", "not dead"),
    (KeepsHooks, "hooks_are_gone_afterwards", "return every handle"),
    (LeaksOnException, "exceptions_remove_hooks", "hooks are left"),
    (WritesThroughTheNextNorm, "patching_is_exact", "skip connection"),
    (AddsTheSkipTwiceAtTheLastLayer, "patching_is_exact", "expert.1.resid_post"),
    (WritesNowhereAtTheLastLayer, "patching_is_exact", "expert.1.resid_post"),
    (WritesTheFirstRowOnly, "patching_is_exact", "vision.1.resid_post"),
    (LosesTheEditOnItsWayToTheExpert, "patching_is_exact", "vlm.2.resid_post"),
    (TooFewTokens, "declared_capabilities_work", "vocabulary"),
    (TransposedValues, "declared_capabilities_work", "transpose"),
    (DetachedGradients, "declared_capabilities_work", "no gradient"),
    (DeclaresTooMuch, "declared_capabilities_work", "there are"),
    (DeclaresTooLittle, "undeclared_capabilities_say_so", "add it to"),
]


@pytest.mark.parametrize(("cls", "code", "advice"), BROKEN, ids=lambda v: getattr(v, "__name__", v))
def test_a_broken_adapter_fails_its_check_and_is_told_what_to_do(cls, code, advice):
    (result,) = conformance.check_adapter(cls, only=[code])
    assert result.status == "fail"
    assert re.search(advice, result.message, re.DOTALL), result.message


def test_every_adapter_check_is_proven_to_fail():
    proven = {code for _, code, _ in BROKEN} | {"listing_imports_no_torch"}  # test_plugins.py
    assert proven == {check.code for check in conformance.ADAPTER_CHECKS}


def test_an_adapter_that_cannot_be_built_fails_every_check_but_listing():
    class Unbuildable(ToyAdapter):
        @classmethod
        def tiny(cls, seed=0):
            raise RuntimeError("no weights today")

    results = list(conformance.check_adapter(Unbuildable))
    failed = {r.code for r in results if r.status == "fail"}
    needs_no_policy = {"listing_imports_no_torch", "undeclared_capabilities_say_so"}
    assert {r.code for r in results} - failed == needs_no_policy
    assert all("no weights today" in r.message for r in results if r.code in failed)
