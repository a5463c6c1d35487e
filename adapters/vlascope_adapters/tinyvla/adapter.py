"""TinyVLA as vlascope sees it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from vlascope.adapter import AdapterInfo, VLAAdapter
from vlascope.hooks import ATTENTION_SITE, HookPoint, Pathway, TokenSpans
from vlascope.noise import normal
from vlascope.specs import CameraSpec
from vlascope.taps import InputTap, OutputTap, Tap
from vlascope.types import ActionChunk, FloatArray, Image, Observation
from vlascope_adapters.tinyvla.config import Crop, NetworkConfig
from vlascope_adapters.tinyvla.network import TinyVLA
from vlascope_adapters.tinyvla.recipe import BenchmarkChoice
from vlascope_adapters.tinyvla.tokenizer import PAD, WordTokenizer
from vlascope_adapters.tinyvla.weights import BUNDLED, Card, Policy, load_policy

__all__ = ["TinyVLAAdapter"]

_SITES: Mapping[str, tuple[type[InputTap | OutputTap], str]] = {
    "resid_pre": (InputTap, ""),
    "attn_out": (OutputTap, ".attention"),
    "resid_mid": (OutputTap, ".resid_mid"),
    "mlp_act": (OutputTap, ".feed_forward.activation"),
    "mlp_out": (OutputTap, ".feed_forward.down"),
    "resid_post": (OutputTap, ""),
}
_NAMED: Mapping[HookPoint, Tap] = {
    HookPoint("vision", None, "projector"): OutputTap("projector"),
    HookPoint("vlm", None, "final_norm"): OutputTap("vlm_norm"),
    HookPoint("expert", None, "action_head"): OutputTap("action_head"),
}
_TINY = NetworkConfig(
    crop=Crop(row=12, column=22, size=72),
    stem=(8, 16),
    vision_width=16,
    width=32,
    neurons_per_width=2,
    heads=2,
    vlm_layers=2,
    expert_layers=2,
    denoise_steps=3,
)


class TinyVLAAdapter(VLAAdapter):
    """The small language-conditioned policy that vlascope ships, one for each of three benchmarks.

    The streams are `image.<camera>`, `instruction`, `padding` and `state` in the vlm, and `action`
    in the expert, whose attention reads the vlm's tokens first and its own after them. Padding is
    attended to by nobody, so its tokens are dead; how many there are depends on the instruction.
    """

    name: ClassVar[str] = "tinyvla"
    capabilities: ClassVar[frozenset[str]] = frozenset(
        {"unembedding", "value_vectors", "attention", "gradients"}
    )

    def __init__(self, policy: Policy, checkpoint: str) -> None:
        self.model: TinyVLA = policy.network.eval().requires_grad_(False)
        self.tokenizer, self.card = policy.tokenizer, policy.card
        self._scales, self._camera = policy.scales, policy.card.benchmark.camera
        size = policy.card.benchmark.size
        self.info = AdapterInfo(
            name=self.name,
            checkpoint=checkpoint,
            checkpoint_hash=policy.card.sha256,
            pathways=_pathways(policy.card.network, f"image.{self._camera}"),
            horizon=policy.card.network.horizon,
            executed_steps=policy.card.network.executed,
            action=policy.card.action,
            state=policy.card.state,
            cameras={self._camera: CameraSpec(size, size, render=policy.card.benchmark.render)},
            notes={"recipe": policy.card.recipe, "training_steps": str(policy.card.steps)},
        )

    @classmethod
    def from_pretrained(
        cls, checkpoint: str = BUNDLED, *, device: str = "cpu", dtype: torch.dtype = torch.float32
    ) -> Self:
        """Load `"bundled"`, `"adverbs"` (MetaWorld), `"libero"`, `"aloha"`, or a trained folder.

        Folders are those that `vlascope zoo train tinyvla --out FOLDER` wrote.

        Raises:
            FileNotFoundError: there is no such folder, or it holds no TinyVLA.
            CorruptFile: a file is truncated, foreign or changed; nothing is loaded.
        """
        policy = load_policy(checkpoint)
        policy.network.to(device=device, dtype=dtype)
        return cls(policy, checkpoint)

    @classmethod
    def tiny(cls, seed: int = 0) -> Self:
        """Two narrow layers a pathway with random weights: milliseconds."""
        prompts = ("open the drawer", "push the button", "pick up the red block")
        tokenizer = WordTokenizer.of(prompts, _TINY.words)
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(seed)
            network = TinyVLA(_TINY, len(tokenizer.vocabulary))
        card = Card(
            network=_TINY,
            vocabulary=tokenizer.vocabulary,
            state_mean=(0.0, 0.6, 0.2, 0.5),
            state_std=(0.1, 0.1, 0.1, 0.5),
            benchmark=BenchmarkChoice(name="metaworld", camera="corner2", size=96, render="fast"),
            tasks={"any": prompts},
            recipe="random weights",
            steps=0,
            sha256=_digest(network),
        )
        return cls(Policy(network, tokenizer, card.scales, card), f"tiny-{seed}")

    def hook_points(self) -> Mapping[HookPoint, Tap]:
        """Six sites of every block, `vision.projector`, `vlm.final_norm`, `expert.action_head`."""
        blocks = {
            HookPoint(pathway.name, layer, site): tap(f"{pathway.name}.blocks.{layer}{module}")
            for pathway in self.info.pathways
            for layer in range(pathway.n_layers)
            for site, (tap, module) in _SITES.items()
        }
        return {**blocks, **_NAMED}

    def attention_points(self) -> Mapping[HookPoint, Tap]:
        """Attention of every block; the expert's keys are the vlm's tokens, then the actions."""
        return {
            HookPoint(pathway.name, layer, ATTENTION_SITE): OutputTap(
                f"{pathway.name}.blocks.{layer}.attention.probabilities"
            )
            for pathway in self.info.pathways
            for layer in range(pathway.n_layers)
        }

    def predict_chunk(
        self, observations: Sequence[Observation], *, generators: Sequence[torch.Generator]
    ) -> ActionChunk:
        """Actions in the benchmark's own numbers, which clips what exceeds its range."""
        actions = self.differentiable_actions(observations, generators=generators)
        return ActionChunk(actions.detach().float().cpu().numpy())

    def differentiable_actions(
        self, observations: Sequence[Observation], *, generators: Sequence[torch.Generator]
    ) -> Tensor:
        """The same, (batch, horizon, action_dim), as a tensor that carries gradients.

        Raises:
            ValueError: a picture or state stream is missing, or a picture of another size.
        """
        like = self.model.patch_position
        crop = self.card.network.crop
        rows = slice(crop.row, crop.row + crop.size)
        columns = slice(crop.column, crop.column + crop.size)
        pictures = np.stack([self._picture(o)[rows, columns] for o in observations])
        states = torch.from_numpy(np.stack([self._state(o) for o in observations]))
        words = [self.tokenizer.encode(o.instruction) for o in observations]
        encoded = self.model.encode(
            torch.from_numpy(pictures).to(like.device),
            torch.tensor(words, device=like.device),
            self._scales.state(states.float()).to(like),
        )
        shape = (self.card.network.horizon, self.card.network.action_dim)
        noise = normal(generators, shape, device=like.device, dtype=like.dtype)
        return self._scales.action.undo(self.model.act(encoded, noise))

    def token_spans(
        self, observations: Sequence[Observation], *, call: int = 0
    ) -> Mapping[str, tuple[TokenSpans, ...]]:
        """What each token carries; `instruction` is as long as each row's own."""
        image = {f"image.{self._camera}": self.card.network.image_tokens}
        rows = len(observations)
        return {
            "vision": (TokenSpans.of_lengths(image),) * rows,
            "vlm": tuple(self._vlm_spans(image, o.instruction) for o in observations),
            "expert": (TokenSpans.of_lengths({"action": self.card.network.horizon}),) * rows,
        }

    def unembedding(self) -> tuple[Tensor, Sequence[str]]:
        """The word embedding, (vocabulary, width), and the words.

        Training predicts words from the vlm's tokens after `vlm.final_norm` through it.
        """
        return self.model.words.weight.detach(), self.tokenizer.vocabulary

    def value_vectors(self, layer: int) -> Tensor:
        """What each neuron of a vlm layer writes to the stream, (neurons, width)."""
        return self.model.get_parameter(f"vlm.blocks.{layer}.feed_forward.down.weight").detach().T

    def example_observation(self, seed: int = 0) -> Observation:
        """A random picture, a prompt the policy has heard, a state like those of training."""
        rng = np.random.default_rng(seed)
        prompts = [texts[0] for texts in self.card.tasks.values()]
        size, state = self.card.benchmark.size, rng.standard_normal(self.card.network.state_dim)
        state = (state * self.card.state_std + self.card.state_mean).astype(np.float32)
        ends = np.cumsum([spec.dim for spec in self.card.state.values()])
        return Observation(
            instruction=prompts[seed % len(prompts)],
            images={self._camera: rng.integers(0, 256, (size, size, 3), dtype=np.uint8)},
            state=dict(zip(self.card.state, np.split(state, ends[:-1]), strict=True)),
        )

    def _state(self, observation: Observation) -> FloatArray:
        """The streams of the card, end to end: float32 (state_dim,)."""
        missing = self.card.state.keys() - observation.state.keys()
        if missing:
            raise ValueError(
                f"tinyvla reads the state streams {list(self.card.state)}; the "
                f"observation has {list(observation.state)}"
            )
        return np.concatenate([observation.state[name] for name in self.card.state])

    def _picture(self, observation: Observation) -> Image:
        size = self.card.benchmark.size
        picture = observation.images.get(self._camera)
        if picture is None or picture.shape != (size, size, 3):
            found = {name: image.shape for name, image in observation.images.items()}
            raise ValueError(
                f"tinyvla looks at {self._camera!r}, ({size}, {size}, 3); the observation has "
                f"{found}: create the benchmark with {self.card.benchmark.options()}"
            )
        return picture

    def _vlm_spans(self, image: Mapping[str, int], instruction: str) -> TokenSpans:
        length = self.card.network.words
        words = sum(token != PAD for token in self.tokenizer.encode(instruction))
        text = {"instruction": words, "padding": length - words, "state": 1}
        return TokenSpans.of_lengths({**image, **text})


def _pathways(config: NetworkConfig, image: str) -> tuple[Pathway, ...]:
    per, width = config.neurons_per_width, config.width
    streams = (image, "instruction", "state")
    return (
        Pathway(
            "vision",
            config.vision_layers,
            config.vision_width,
            1,
            (image,),
            per * config.vision_width,
        ),
        Pathway("vlm", config.vlm_layers, width, 1, streams, per * width),
        Pathway(
            "expert", config.expert_layers, width, config.denoise_steps, ("action",), per * width
        ),
    )


def _digest(network: TinyVLA) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()
