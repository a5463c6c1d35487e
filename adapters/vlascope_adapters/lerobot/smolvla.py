"""SmolVLA (Shukor et al. 2025, arXiv:2506.01844) as lerobot's `SmolVLAPolicy`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from vlascope.errors import FileMissing
from vlascope.hooks import ATTENTION_SITE, HookPoint, Pathway, TokenSpans
from vlascope.taps import InputTap, OutputTap, ResidualTap, Tap, block_points, single_token
from vlascope.types import Observation
from vlascope_adapters.checkpoints import fetch, read_json
from vlascope_adapters.lerobot import tiny
from vlascope_adapters.lerobot.policy import STATE, LeRobotAdapter
from vlascope_adapters.lerobot.smolvla_built import quietly, tiny_policy
from vlascope_adapters.lerobot.smolvla_taps import AttentionTap, StreamTap, branch

__all__ = ["SmolVLAAdapter"]

_LOOP = "model.vlm_with_expert"
_VISION = f"{_LOOP}.vlm.model.vision_model"
_LANGUAGE = f"{_LOOP}.vlm.model.text_model"
_EXPERT = f"{_LOOP}.lm_expert"
_BACKBONE_FILES = ("*.json", "*.txt", "*.jinja", "*.model")

_VISION_SITES: Mapping[str, Callable[[str], Tap]] = {
    "resid_pre": InputTap,
    "attn_out": lambda block: OutputTap(f"{block}.self_attn.out_proj"),
    "resid_mid": lambda block: ResidualTap(f"{block}.layer_norm1", f"{block}.self_attn.out_proj"),
    "mlp_act": lambda block: InputTap(f"{block}.mlp.fc2"),
    "mlp_out": lambda block: OutputTap(f"{block}.mlp"),
    "resid_post": OutputTap,
}
_LOOP_SITES: Mapping[str, Callable[[str], Tap]] = {
    "resid_pre": lambda block: StreamTap(f"{block}.input_layernorm"),
    "attn_out": lambda block: branch(f"{block}.self_attn.o_proj"),
    "resid_mid": lambda block: ResidualTap(f"{block}.input_layernorm", f"{block}.self_attn.o_proj"),
    "mlp_act": lambda block: InputTap(f"{block}.mlp.down_proj"),
    "mlp_out": lambda block: branch(f"{block}.mlp"),
}
_NAMED: Mapping[HookPoint, Tap] = {
    HookPoint("vision", None, "final_norm"): OutputTap(f"{_VISION}.post_layernorm"),
    HookPoint("vision", None, "projector"): OutputTap(f"{_LOOP}.vlm.model.connector"),
    HookPoint("vlm", None, "state_encoder"): single_token(OutputTap("model.state_proj")),
    HookPoint("vlm", None, "final_norm"): OutputTap(f"{_LANGUAGE}.norm"),
    HookPoint("expert", None, "action_encoder"): OutputTap("model.action_in_proj"),
    HookPoint("expert", None, "final_norm"): OutputTap(f"{_EXPERT}.norm"),
    HookPoint("expert", None, "action_head"): OutputTap("model.action_out_proj"),
}


class SmolVLAAdapter(LeRobotAdapter):
    """A SmolVLM2 cut after its first layers, and a flow-matching expert that reads each of them.

    Vision runs once a camera. The vlm reads pictures and instruction, which see each other, then
    the state, which sees all; the expert reads keys and values of every vlm layer, once a denoise
    step, with attention among its own actions (even layers of the published models) or to the
    vlm's tokens alone (odd ones). What the last vlm layer computes after its keys and values
    reaches nothing.
    """

    name: ClassVar[str] = "smolvla"
    kind: ClassVar[str] = "smolvla"
    capabilities: ClassVar[frozenset[str]] = frozenset(
        {"unembedding", "value_vectors", "attention", "gradients"}
    )

    @classmethod
    def tiny(cls, seed: int = 0) -> Self:
        """Two vision, four vlm and four expert layers, 48 to 64 wide; four denoise steps."""
        policy, processors = tiny_policy(seed)
        return cls(policy, processors, tiny.ROBOT, f"tiny-{seed}")

    def pathways(self) -> tuple[Pathway, ...]:
        """vision, once a camera (empty ones count); vlm; expert, once a denoise step."""
        loop = self.model.model.vlm_with_expert
        vision, text = loop.config.vision_config, loop.config.text_config
        pictures = tuple(f"image.{camera}" for camera in self.views.values())
        return (
            Pathway(
                "vision",
                vision.num_hidden_layers,
                vision.hidden_size,
                calls_per_chunk=len(self._pictures()),
                mixes=pictures,
                ffn_width=vision.intermediate_size,
            ),
            Pathway(
                "vlm",
                loop.num_vlm_layers,
                text.hidden_size,
                mixes=(*pictures, "instruction", "state"),
                ffn_width=text.intermediate_size,
                read_per_layer=True,
            ),
            Pathway(
                "expert",
                loop.num_expert_layers,
                loop.expert_hidden_size,
                calls_per_chunk=self.config.num_steps,
                mixes=("action",),
                ffn_width=loop.lm_expert.config.intermediate_size,
            ),
        )

    def hook_points(self) -> Mapping[HookPoint, Tap]:
        """Six sites of every block, and the points between the stacks."""
        layers = [f"{_VISION}.encoder.layers.{i}" for i in range(self._depth("vision"))]
        return {
            **block_points("vision", layers, _VISION_SITES),
            **self._looped("vlm", _LANGUAGE),
            **self._looped("expert", _EXPERT),
            **_NAMED,
        }

    def dead_points(self) -> frozenset[HookPoint]:
        """The last vlm layer after its keys and values, and the norm after it."""
        last = self._depth("vlm") - 1
        sites = ("attn_out", "resid_mid", "mlp_act", "mlp_out", "resid_post")
        after = {HookPoint("vlm", last, site) for site in sites}
        return frozenset({*after, HookPoint("vlm", None, "final_norm")})

    def attention_points(self) -> Mapping[HookPoint, Tap]:
        """Of vlm and expert; an expert layer's keys are the vlm's tokens, then its own if any.

        Upstream's vision attention is fused, and reading it would change results.
        """
        return {
            HookPoint(pathway, layer, ATTENTION_SITE): AttentionTap(
                _LOOP, f"{stack}.layers.{layer}"
            )
            for pathway, stack in (("vlm", _LANGUAGE), ("expert", _EXPERT))
            for layer in range(self._depth(pathway))
        }

    def token_spans(
        self, observations: Sequence[Observation], *, call: int = 0
    ) -> Mapping[str, tuple[TokenSpans, ...]]:
        """Pictures, `instruction`, `padding` up to the longest of the batch, `state`; `action`."""
        rows, pictures = len(observations), self._pictures()
        picture, patches = list(pictures.items())[call % len(pictures)]
        shrunk = self.model.model.vlm_with_expert.vlm.model.connector.scale_factor**2
        lengths = {
            "vision": {picture: patches},
            "vision.projector": {picture: patches // shrunk},
            "vlm.state_encoder": {"state": 1},
            "expert": {"action": self.config.chunk_size},
        }
        images = {name: patches // shrunk for name, patches in pictures.items()}
        spans = {where: (TokenSpans.of_lengths(n),) * rows for where, n in lengths.items()}
        return {**spans, "vlm": tuple(self._prefixes(images, observations))}

    def unembedding(self) -> tuple[Tensor, Sequence[str]]:
        """SmolVLM2's language head, (vocabulary, width), which reads `vlm.final_norm`.

        It was trained on the layers that SmolVLA cuts off, so it reads early layers loosely.
        """
        head = self.model.model.vlm_with_expert.vlm.lm_head.weight.detach()
        words = self._tokenize.input_tokenizer
        known = words.convert_ids_to_tokens(list(range(len(words))))
        return head, [*known, *(f"<unused{i}>" for i in range(len(known), len(head)))]

    def value_vectors(self, layer: int) -> Tensor:
        """What each neuron of a vlm layer writes to the stream, (neurons, width)."""
        down = self.model.get_parameter(f"{_LANGUAGE}.layers.{layer}.mlp.down_proj.weight")
        return down.detach().T

    def differentiable_actions(
        self, observations: Sequence[Observation], *, generators: Sequence[torch.Generator]
    ) -> Tensor:
        """The same chunk, (batch, horizon, dim), with gradients to activations."""
        predict = type(self.model).predict_action_chunk.__wrapped__
        batch = self.batch(observations)
        return self._decoded(predict(self.model, batch, noise=self.noise(generators)))

    def _looped(self, pathway: str, stack: str) -> dict[HookPoint, Tap]:
        """A stack of upstream's loop: what leaves a block is what the next norm reads."""
        depth = self._depth(pathway)
        blocks = [f"{stack}.layers.{i}" for i in range(depth)]
        norms = [*(f"{block}.input_layernorm" for block in blocks[1:]), f"{stack}.norm"]
        posts = {
            HookPoint(pathway, i, "resid_post"): StreamTap(norm) for i, norm in enumerate(norms)
        }
        return {**block_points(pathway, blocks, _LOOP_SITES), **posts}

    def _depth(self, pathway: str) -> int:
        return self.info.pathway(pathway).n_layers

    def _pictures(self) -> dict[str, int]:
        """What vision is shown, in order, and the patches of each.

        Declared cameras, then empty ones, which nobody attends to.
        """
        shown = {f"image.{name}": self._patches(name) for name in self.views.values()}
        absent = min(len(self.config.image_features) - len(shown), self.config.empty_cameras)
        last = list(shown.values())[-1]
        return {**shown, **{f"padding.camera{i}": last for i in range(absent)}}

    def _patches(self, camera: str) -> int:
        """How many patches vision cuts a camera's picture into."""
        spec = self.robot.cameras[camera]
        width, height = self.config.resize_imgs_with_padding or (spec.width, spec.height)
        side = self.model.model.vlm_with_expert.config.vision_config.patch_size
        return (width // side) * (height // side)

    def _prefixes(
        self, images: Mapping[str, int], observations: Sequence[Observation]
    ) -> Iterator[TokenSpans]:
        """The vlm's tokens, row by row."""
        marked: dict[str, int] = {}
        for name, tokens in images.items():
            before, after = (2, 1) if self.config.add_image_special_tokens else (0, 0)
            marked |= {f"mark.before.{name}": before, name: tokens, f"mark.after.{name}": after}
        words = self._words(observations)
        for row in words:
            text = {"instruction": int(row.sum()), "padding": int((~row).sum())}
            known = {**marked, **text, "state": 1}
            filled = max(0, self.config.prefix_length - sum(known.values()))
            yield TokenSpans.of_lengths({**known, "padding.end": filled})

    def _words(self, observations: Sequence[Observation]) -> Tensor:
        """Which language tokens are the instruction's, bool (rows, longest)."""
        blank = torch.zeros(len(observations), *self.config.input_features[STATE].shape)
        texts = [o.instruction for o in observations]
        batch = self.processors.before({STATE: blank, "task": texts})
        return batch["observation.language.attention_mask"]

    @property
    def _tokenize(self) -> Any:
        """The pipeline's step that makes tokens."""
        steps = self.processors.before.steps
        return next(step for step in steps if hasattr(step, "input_tokenizer"))

    @classmethod
    def _prepare(cls, config: Any, folder: Any, dtype: torch.dtype) -> None:
        config.compile_model = config.load_vlm_weights = False
        config.rtc_config = None  # chunks here do not depend on the chunk before

    @classmethod
    def _tokenizer(cls, config: Any, folder: Any, tokenizer: str | None) -> str | None:
        """The folder of the SmolVLM2 whose config and tokenizer (not weights) upstream needs."""
        own = Path(folder) / "vlm"
        named = tokenizer or (str(own) if own.is_dir() else config.vlm_model_name)
        try:
            found = fetch(named, _BACKBONE_FILES)
            for needed in ("config.json", "tokenizer.json"):
                read_json(found, needed)
        except FileMissing as error:
            raise FileMissing(
                f"SmolVLA needs the config, the tokenizer and the processor of {named!r} beside "
                f"its checkpoint: {error}. Or put them into {own}, or name a folder that holds "
                "them with tokenizer=FOLDER"
            ) from error
        config.vlm_model_name = str(found)
        return str(found)

    @classmethod
    @contextmanager
    def _building(cls, config: Any) -> Iterator[None]:
        """Say what is missing of the SmolVLM2 that upstream builds from."""
        try:
            with quietly():
                yield
        except (OSError, ValueError) as error:
            raise FileMissing(
                f"{config.vlm_model_name} is no whole SmolVLM2: {str(error).splitlines()[0]}; it "
                "needs config.json, the tokenizer and the processor's files (no weights)"
            ) from error

    @classmethod
    def _place(cls, policy: Any, device: str, dtype: torch.dtype) -> None:
        """The projections around the stacks stay in float32: upstream gives them float32."""
        policy.to(device=device)
        policy.model.vlm_with_expert.to(dtype=dtype)
