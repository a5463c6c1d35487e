"""pi0 (arXiv:2410.24164) and pi0.5 (arXiv:2504.16054) as lerobot's `PI0Policy`, `PI05Policy`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, ClassVar, Self

import torch
from lerobot.policies.factory import get_policy_class, make_policy_config
from lerobot.utils.constants import OBS_LANGUAGE_ATTENTION_MASK, OBS_LANGUAGE_TOKENS
from torch import Tensor
from transformers.initialization import no_init_weights

from vlascope.hooks import ATTENTION_SITE, BLOCK_SITES, HookPoint, Pathway, TokenSpans
from vlascope.taps import OutputTap, Tap, block_points
from vlascope.types import Observation
from vlascope_adapters.lerobot import tiny
from vlascope_adapters.lerobot.pi_prompts import (
    Parts,
    offline_processors,
    pi0_parts,
    pi05_parts,
    token_counts,
)
from vlascope_adapters.lerobot.pi_sizes import TINY, Sizes, enlivened, renamed, sized
from vlascope_adapters.lerobot.pi_taps import (
    GATED_GEMMA,
    GEMMA,
    NAMED_PI0,
    NAMED_PI05,
    SIGLIP,
    STACKS,
    TOWER,
    VLM,
    Sites,
)
from vlascope_adapters.lerobot.policy import STATE, LeRobotAdapter

__all__ = ["Pi0Adapter", "Pi05Adapter"]

_PRECISIONS = {torch.float32: "float32", torch.bfloat16: "bfloat16"}
_REMEMBERED = 256
_OF_THEIR_OWN = {
    "expert.state_encoder": "state",
    "expert.time_encoder": "time",
    "expert.action_encoder": "action",
    "expert.action_time_encoder": "action",
    "expert.action_head": "action",
}
"""What points beside the expert's blocks carry."""


class _PiAdapter(LeRobotAdapter):
    """What pi0 and pi0.5 share: SigLIP, Gemma, and a narrower Gemma that acts.

    Vision runs once per camera. The vlm runs once over every camera's tokens and the prompt; the
    expert runs once a denoise step, each of its blocks reading keys and values of the vlm block
    beside it. Nothing else of the vlm is read, so what its last block writes reaches nobody.
    """

    capabilities: ClassVar[frozenset[str]] = frozenset(
        {"unembedding", "value_vectors", "attention", "gradients"}
    )
    _sites: ClassVar[Mapping[str, Sites]]
    _named: ClassVar[Mapping[HookPoint, Tap]]
    _suffix: ClassVar[tuple[str, ...]]
    _read: ClassVar[tuple[str, ...]]
    _tiny_prompt: ClassVar[int]

    @classmethod
    def tiny(cls, seed: int = 0) -> Self:
        """Two blocks of vision and three of each Gemma; a picture is 16 tokens."""
        config = make_policy_config(
            cls.kind,
            **tiny.features(),
            device="cpu",
            image_resolution=(56, 56),
            chunk_size=10,
            n_action_steps=5,
            num_inference_steps=4,
            max_state_dim=8,
            max_action_dim=8,
            tokenizer_max_length=cls._tiny_prompt,
        )
        with tiny.seeded(seed), sized(cls.kind, TINY):
            policy = enlivened(get_policy_class(cls.kind)(config))
        pipelines = offline_processors(config, tiny.statistics(seed))
        return cls(policy, pipelines, tiny.ROBOT, f"tiny-{seed}")

    def pathways(self) -> tuple[Pathway, ...]:
        """vision, once a camera; vlm, once; expert, once a denoise step."""
        images = tuple(f"image.{camera}" for camera in self.views.values())
        vlm = self._pathway("vlm", 1, (*images, *self._read))
        return (
            self._pathway("vision", len(self.config.image_features), images),
            replace(vlm, read_per_layer=True),
            self._pathway("expert", self.config.num_inference_steps, self._suffix),
        )

    def hook_points(self) -> Mapping[HookPoint, Tap]:
        """Six sites of every block, and the named points."""
        points = dict(self._named)
        for pathway, sites in self._sites.items():
            points |= block_points(pathway, self._blocks(pathway), sites)
        return points

    def dead_points(self) -> frozenset[HookPoint]:
        """All that the vlm's last block writes: the expert reads keys and values of its input."""
        last = self.info.pathway("vlm").n_layers - 1
        written = (HookPoint("vlm", last, site) for site in BLOCK_SITES if site != "resid_pre")
        return frozenset((HookPoint("vlm", None, "final_norm"), *written))

    def attention_points(self) -> Mapping[HookPoint, Tap]:
        """Of vlm and expert, whose keys are the vlm's tokens, then its own; SigLIP's are fused."""
        return {
            HookPoint(pathway, layer, ATTENTION_SITE): OutputTap(f"{block}.self_attn", item=1)
            for pathway in ("vlm", "expert")
            for layer, block in enumerate(self._blocks(pathway))
        }

    def token_spans(
        self, observations: Sequence[Observation], *, call: int = 0
    ) -> Mapping[str, tuple[TokenSpans, ...]]:
        """Cameras in the policy's order, then the prompt as each row's tokens say it.

        A camera that the checkpoint declares and no picture fills is `padding.<name>`.
        """
        seen = dict.fromkeys(self._pictures(), self._patches())
        suffix = {"state": 1, "time": 1, "action": self.config.chunk_size}
        lengths: dict[str, dict[str, int]] = {
            "vision": dict([list(seen.items())[call % len(seen)]]),
            "expert": {stream: suffix[stream] for stream in self._suffix},
            **{at: {stream: suffix[stream]} for at, stream in self._beside().items()},
        }
        return {
            "vlm": tuple(TokenSpans.of_lengths(seen | said) for said in self._said(observations)),
            **{at: (TokenSpans.of_lengths(n),) * len(observations) for at, n in lengths.items()},
        }

    def unembedding(self) -> tuple[Tensor, Sequence[str]]:
        """Gemma's word embedding, (vocabulary, width), which its output head was tied to.

        Upstream's copy of that head is called by nobody, so fine-tuning leaves it behind.
        """
        words = self.model.get_parameter(f"{VLM}.embed_tokens.weight").detach()
        tokenizer = self._tokenizer_step().input_tokenizer
        known = min(len(words), len(tokenizer))
        names = tokenizer.convert_ids_to_tokens(list(range(known)))
        return words, [*names, *(f"<unused {i}>" for i in range(known, len(words)))]

    def value_vectors(self, layer: int) -> Tensor:
        """What each neuron of a vlm layer writes to the stream, (neurons, width)."""
        block = self._blocks("vlm")[layer]
        return self.model.get_parameter(f"{block}.mlp.down_proj.weight").detach().T

    def differentiable_actions(
        self, observations: Sequence[Observation], *, generators: Sequence[torch.Generator]
    ) -> Tensor:
        """The same chunk, (batch, horizon, dim), with gradients to activations."""
        batch, network = self.batch(observations), self.model.model
        actions = type(network).sample_actions.__wrapped__(
            network,
            *self.model._preprocess_images(batch),
            batch[OBS_LANGUAGE_TOKENS],
            batch[OBS_LANGUAGE_ATTENTION_MASK],
            *self._state(batch),
            noise=self.noise(generators),
        )
        return self._decoded(actions[..., : self.config.action_feature.shape[0]])

    @staticmethod
    @abstractmethod
    def _parts(prompt: str) -> Parts:
        """A prompt cut into named pieces."""

    @abstractmethod
    def _state(self, batch: Mapping[str, Any]) -> tuple[Tensor, ...]:
        """What upstream's `sample_actions` takes beside pictures and words."""

    def _decoded(self, actions: Tensor) -> Tensor:
        """Upstream's post-processing of a whole chunk: relative actions start from its state."""
        return self.processors.after(actions)

    def _said(self, observations: Sequence[Observation]) -> Iterator[dict[str, int]]:
        """The tokens of each row's prompt, counted by what they say; every call asks for them."""
        known: dict[tuple[str, bytes], dict[str, int]] = vars(self).setdefault("_counted", {})
        if len(known) > _REMEMBERED:
            known.clear()
        for observation in observations:
            state, task = self.robot.state_vector(observation), observation.instruction
            said = (task, state.tobytes())
            if said not in known:
                read = self.processors.before(
                    {STATE: torch.from_numpy(state)[None], "task": [task]}
                )
                (prompt,) = read["task"]
                known[said] = token_counts(self._tokenizer_step(), prompt, self._parts(prompt))
            yield known[said]

    def _pictures(self) -> list[str]:
        """What upstream looks at, in its order: those there are, then black ones for the rest."""
        empty = [feature for feature in self.config.image_features if feature not in self.views]
        names = (feature.rsplit(".", 1)[-1] for feature in empty)
        return [*(f"image.{c}" for c in self.views.values()), *(f"padding.{n}" for n in names)]

    def _beside(self) -> dict[str, str]:
        """Points whose tokens are not the expert's sequence."""
        return {at: s for at, s in _OF_THEIR_OWN.items() if HookPoint.parse(at) in self._named}

    def _patches(self) -> int:
        return self.model.get_submodule(f"{TOWER}.embeddings").num_patches

    def _tokenizer_step(self) -> Any:
        """Upstream's tokenizer step."""
        steps = self.processors.before.steps
        return next(step for step in steps if hasattr(step, "input_tokenizer"))

    def _blocks(self, pathway: str) -> list[str]:
        stack = STACKS[pathway]
        return [f"{stack}.{i}" for i in range(len(self.model.get_submodule(stack)))]

    def _pathway(self, name: str, calls: int, mixes: tuple[str, ...]) -> Pathway:
        """Sizes are read off what leads from a block's neurons back to its stream."""
        blocks = self._blocks(name)
        down = "fc2" if name == "vision" else "down_proj"
        width, neurons = self.model.get_parameter(f"{blocks[0]}.mlp.{down}.weight").shape
        return Pathway(name, len(blocks), width, calls, mixes, neurons)

    @classmethod
    def _prepare(cls, config: Any, folder: Any, dtype: torch.dtype) -> None:
        config.compile_model = config.gradient_checkpointing = False  # both swallow hooks
        config.rtc_config = None
        config.dtype = _precision(dtype)
        config.pretrained_path = folder

    @classmethod
    @contextmanager
    def _building(cls, config: Any) -> Iterator[None]:
        """Drawing four billion random weights takes minutes, and each is loaded over."""
        with no_init_weights(), sized(cls.kind, Sizes.of(config.pretrained_path)):
            yield

    @classmethod
    def _place(cls, policy: Any, device: str, dtype: torch.dtype) -> None:
        """As upstream mixes precisions: in bfloat16, vision, norms and the ends stay float32."""
        if policy.config.dtype != _precision(dtype):
            exact = policy.state_dict()
            policy.model.paligemma_with_expert.to_bfloat16_for_selected_params(_precision(dtype))
            policy.load_state_dict(exact)
            policy.config.dtype = _precision(dtype)
        policy.to(device)

    @classmethod
    def _renamed(cls, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        return renamed(tensors)


class Pi0Adapter(_PiAdapter):
    """pi0: the state is a token of the expert, the time is mixed into the action tokens."""

    name: ClassVar[str] = "pi0"
    kind: ClassVar[str] = "pi0"
    _sites: ClassVar[Mapping[str, Sites]] = {"vision": SIGLIP, "vlm": GEMMA, "expert": GEMMA}
    _named: ClassVar[Mapping[HookPoint, Tap]] = NAMED_PI0
    _suffix: ClassVar[tuple[str, ...]] = ("state", "action")
    _read: ClassVar[tuple[str, ...]] = ("instruction",)
    _tiny_prompt: ClassVar[int] = 48

    @staticmethod
    def _parts(prompt: str) -> Parts:
        return pi0_parts(prompt)

    def _state(self, batch: Mapping[str, Any]) -> tuple[Tensor, ...]:
        return (self.model.prepare_state(batch),)


class Pi05Adapter(_PiAdapter):
    """pi0.5: the state is text in the prompt, the time is told to the expert's norms (AdaRMS)."""

    name: ClassVar[str] = "pi05"
    kind: ClassVar[str] = "pi05"
    _sites: ClassVar[Mapping[str, Sites]] = {"vision": SIGLIP, "vlm": GEMMA, "expert": GATED_GEMMA}
    _named: ClassVar[Mapping[HookPoint, Tap]] = NAMED_PI05
    _suffix: ClassVar[tuple[str, ...]] = ("action",)
    _read: ClassVar[tuple[str, ...]] = ("instruction", "state")
    _tiny_prompt: ClassVar[int] = 72

    @staticmethod
    def _parts(prompt: str) -> Parts:
        return pi05_parts(prompt)

    def _state(self, batch: Mapping[str, Any]) -> tuple[Tensor, ...]:
        return ()


def _precision(dtype: torch.dtype) -> str:
    """Upstream's name of a precision.

    Raises:
        ValueError: upstream knows float32 and bfloat16 only.
    """
    if dtype not in _PRECISIONS:
        raise ValueError(f"pi0 and pi0.5 run in float32 or bfloat16, not {dtype}")
    return _PRECISIONS[dtype]
