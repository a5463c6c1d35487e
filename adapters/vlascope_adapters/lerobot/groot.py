"""GR00T N1.7 (NVIDIA; the N1 family: arXiv:2503.14734) as lerobot's `GrootPolicy`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Self

import torch
from lerobot.policies.groot.processor_groot import GrootN17PackInputsStep, GrootN17VLMEncodeStep
from torch import Tensor

from vlascope.hooks import ATTENTION_SITE, HookPoint, Pathway, TokenSpans
from vlascope.noise import normal
from vlascope.taps import OutputTap, Tap, block_points
from vlascope.types import Observation
from vlascope_adapters.lerobot import groot_tiny, tiny
from vlascope_adapters.lerobot.checkpoint import Processors
from vlascope_adapters.lerobot.groot_built import at_real_size
from vlascope_adapters.lerobot.groot_decoding import horizons, native_statistics, with_slope
from vlascope_adapters.lerobot.groot_loading import load, step_of
from vlascope_adapters.lerobot.groot_map import (
    ATTENTION,
    BLOCKS,
    FINAL_NORM,
    LANGUAGE,
    NAMED,
    SITES,
    TOWER,
)
from vlascope_adapters.lerobot.groot_prompts import Layout
from vlascope_adapters.lerobot.groot_taps import Packed, drawn, padding_masked, with_gradients
from vlascope_adapters.lerobot.policy import LeRobotAdapter
from vlascope_adapters.robots import Robot

__all__ = ["GrootAdapter", "at_real_size"]


class GrootAdapter(LeRobotAdapter):
    """GR00T N1.7: a Qwen3-VL cut short, a self-attention stack, a diffusion transformer.

    `vision` packs every picture of every row into one sequence; here a row's pictures lie end to
    end, patches in 2x2 groups that the projector merges. Some of its blocks are read by mergers of
    their own, whose output is ADDED to the image tokens of `vlm` after its first blocks: there
    `resid_pre` of the next block is not `resid_post`. `vlm` is padded on the left; `vlsa` reads
    what its last block gives, before the final norm, so that norm is dead. `expert` is
    [state | actions]; every second block attends to itself, the others to what `vlsa` makes of the
    words and of the pictures in turn.
    """

    name: ClassVar[str] = "groot"
    kind: ClassVar[str] = "groot"
    capabilities: ClassVar[frozenset[str]] = frozenset(
        {"unembedding", "value_vectors", "attention", "gradients"}
    )

    def __init__(self, policy: Any, processors: Processors, robot: Robot, checkpoint: str) -> None:
        pack = step_of(processors.before, GrootN17PackInputsStep, checkpoint)
        encode = step_of(processors.before, GrootN17VLMEncodeStep, checkpoint)
        self._layout = Layout(pack, encode, robot, policy.config.image_features)
        super().__init__(policy, processors, robot, checkpoint)
        self.views, everything = self._layout.views, self.info.cameras
        horizon, executed = horizons(policy, processors.after)
        self.info = replace(
            self.info,
            horizon=horizon,
            executed_steps=executed,
            cameras={camera: everything[camera] for camera in self.views.values()},
        )

    @classmethod
    def from_pretrained(
        cls,
        checkpoint: str,
        *,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
        robot: Robot | str | None = None,
        tokenizer: str | None = None,
        revision: str | None = None,
        base: str | None = None,
        embodiment: str | None = None,
    ) -> Self:
        """Load a checkpoint in lerobot's layout, or a base model in NVIDIA's own.

        Args:
            checkpoint: a hub id, or a folder.
            device: where it runs.
            dtype: of the weights; bfloat16 also turns upstream's autocast on.
            robot: what the numbers mean; by default what the checkpoint's names say.
            tokenizer: where to take the backbone's tokenizer and picture processor from.
            revision: branch, tag or commit on the hub.
            base: the base model whose config.json tells the shape of the network, instead of the
                one that the checkpoint was saved with (often a path of another machine).
            embodiment: GR00T's name of the robot (`libero_sim`), as `lerobot-eval` takes it: it
                chooses a base model's statistics and how a gripper is decoded.

        Raises:
            FileMissing: the checkpoint, one of its files or its tokenizer is not there.
            IncompatibleError: it is of another kind, or nothing tells what its numbers mean.
            CorruptFile: a file is truncated, or tensors are missing, extra or of another shape.
        """
        policy, processors, chosen = load(
            checkpoint,
            device=device,
            dtype=dtype,
            robot=robot,
            tokenizer=tokenizer,
            revision=revision,
            base=base,
            embodiment=embodiment,
        )
        return cls(policy, processors, chosen, checkpoint)

    @classmethod
    def tiny(cls, seed: int = 0) -> Self:
        """Three vision blocks, three language layers, two and four transformer blocks, width 64."""
        policy, processors = groot_tiny.make(seed)
        return cls(policy, processors, tiny.ROBOT, f"tiny-{seed}")

    def pathways(self) -> tuple[Pathway, ...]:
        """vision, vlm and vlsa once a chunk; the expert once a denoise step."""
        model, head = self.model._groot_model.backbone.model.config, self._head
        see, read, steps = model.vision_config, model.text_config, head.num_inference_timesteps
        images = tuple(self._layout.pictures)
        words, moves = (*images, "instruction"), ("state", "action")
        sizes = {
            "vision": (see.hidden_size, 1, images, see.intermediate_size),
            "vlm": (read.hidden_size, 1, words, read.intermediate_size),
            "vlsa": (_width(head.vl_self_attention), 1, words, _neurons(head.vl_self_attention)),
            "expert": (_width(head.model), steps, moves, _neurons(head.model)),
        }
        return tuple(
            Pathway(name, blocks, *size, read_per_layer=name == "vision")
            for name, size in sizes.items()
            if (blocks := len(self._blocks(name)))
        )

    def hook_points(self) -> Mapping[HookPoint, Tap]:
        """Six sites of every block, the mergers of vision, and the named points of the expert."""
        points = {
            point: tap
            for pathway in self.info.pathways
            for point, tap in block_points(
                pathway.name, self._blocks(pathway.name), SITES[pathway.name]
            ).items()
        }
        points |= {point: OutputTap(module) for point, module in self._mergers().items()}
        pictures = len(self._layout.pictures)
        packed = {p: Packed(t, TOWER, pictures) for p, t in points.items() if p.pathway == "vision"}
        return {**points, **packed, **NAMED}

    def dead_points(self) -> frozenset[HookPoint]:
        """The language model's final norm: the action head reads what enters it."""
        return frozenset({FINAL_NORM})

    def attention_points(self) -> Mapping[HookPoint, Tap]:
        """What `vlm`, `vlsa` and the expert attend to; padding among the keys gets nothing."""
        return {
            HookPoint(pathway.name, layer, ATTENTION_SITE): ATTENTION[pathway.name](block)
            for pathway in self.info.pathways
            if pathway.name in ATTENTION
            for layer, block in enumerate(self._blocks(pathway.name))
        }

    def token_spans(
        self, observations: Sequence[Observation], *, call: int = 0
    ) -> Mapping[str, tuple[TokenSpans, ...]]:
        """Pictures, the chat template around them, the instruction, padding; state and actions.

        In `vision` a picture's tokens are its patches, elsewhere a quarter as many.
        """
        rows, actions = len(observations), self._head.action_horizon
        patches, merged = self._layout.of_pictures()
        read = self._layout.of_texts([o.instruction for o in observations])
        return {
            "vision": (patches,) * rows,
            **{str(merger): (merged,) * rows for merger in self._mergers()},
            "vlm": read,
            "vlsa": read,
            "expert": (TokenSpans.of_lengths({"state": 1, "action": actions}),) * rows,
            "expert.state_encoder": (TokenSpans.of_lengths({"state": 1}),) * rows,
            "expert.action_encoder": (TokenSpans.of_lengths({"action": actions}),) * rows,
        }

    def unembedding(self) -> tuple[Tensor, Sequence[str]]:
        """The backbone's word embedding, tied to its unembedding, and its tokens.

        The backbone is cut short of the layers that wrote for it, so read it as a logit lens.
        """
        matrix = self.model.get_submodule(f"{LANGUAGE}.embed_tokens").weight.detach()
        tokens = self._layout.texts.convert_ids_to_tokens(list(range(len(self._layout.texts))))
        return matrix, [*tokens, *(f"<unused-{i}>" for i in range(len(tokens), len(matrix)))]

    def value_vectors(self, layer: int) -> Tensor:
        """What each neuron of a vlm layer writes to the stream, (neurons, width)."""
        return self.model.get_parameter(f"{LANGUAGE}.layers.{layer}.mlp.down_proj.weight").T

    def noise(self, generators: Sequence[torch.Generator]) -> Tensor:
        """What the flow starts from, (batch, action horizon, padded action dim)."""
        return normal(generators, (self._head.action_horizon, self._head.action_dim))

    def differentiable_actions(
        self, observations: Sequence[Observation], *, generators: Sequence[torch.Generator]
    ) -> Tensor:
        """The same chunk with gradients to activations; none where upstream clips an action.

        Raises:
            CapabilityMissing: the checkpoint decodes relative end-effector poses.
        """
        with with_gradients(self.model):
            actions = self._chunk(self.batch(observations), generators)
        return with_slope(actions, self.processors.after)

    def _chunk(self, batch: dict[str, Any], generators: Sequence[torch.Generator]) -> Tensor:
        mask = batch["attention_mask"].to(self._head.device) == 1
        with drawn(self.noise(generators)), padding_masked(self._head, mask):
            return self.model.predict_action_chunk(batch)

    def _decoded(self, actions: Tensor) -> Tensor:
        """Whole chunks: relative actions are added to each row's state, step by step."""
        return self.processors.after(actions)

    def _pipeline_state(self) -> tuple[Mapping[str, Tensor], ...]:
        return (*super()._pipeline_state(), native_statistics(self.processors.after))

    @property
    def _head(self) -> Any:
        return self.model._groot_model.action_head

    def _blocks(self, pathway: str) -> list[str]:
        """The paths of a pathway's blocks; none where upstream left the stack out."""
        owner, _, name = BLOCKS[pathway].rpartition(".")
        stack: Any = getattr(self.model.get_submodule(owner), name, ())
        return [f"{BLOCKS[pathway]}.{layer}" for layer, _ in enumerate(stack)]

    def _mergers(self) -> dict[HookPoint, str]:
        """Where patches become tokens of the language model: after the last block, and earlier."""
        early = len(self.model.get_submodule(TOWER).deepstack_merger_list)
        paths = {"projector": f"{TOWER}.merger"}
        paths |= {f"deepstack_{i}": f"{TOWER}.deepstack_merger_list.{i}" for i in range(early)}
        return {HookPoint("vision", None, name): path for name, path in paths.items()}


def _width(stack: Any) -> int:
    return getattr(stack, "inner_dim", 0)


def _neurons(stack: Any) -> int:
    blocks: Any = getattr(stack, "transformer_blocks", ())
    return blocks[0].ff.net[2].in_features if len(blocks) else 0
