"""The toy policy: what is true of it, and its adapter.

Plays the benchmark `toy`. In the `unique` suite the picture alone decides; in `shared` three goals
are in sight and the prompt decides. Information flows like this, and in no other way:

| where                        | tokens        | what it holds                                     |
|------------------------------|---------------|---------------------------------------------------|
| vision.0 mlp                 | `image.top`   | which colour a patch shows (48 pixel neurons)     |
| vision.1 mlp                 | `image.top`   | where in the patch it is                          |
| vlm, from the input on       | `state`       | where the point itself is                         |
| vlm.0 mlp, neurons 0, 1, 2   | `instruction` | the word means red, green, blue (with synonyms)   |
| vlm.1 attention              | `soft_prompt` | the asked colour, gathered from the words         |
| vlm.2 attention              | `soft_prompt` | the goal's place: the patch of the asked colour,  |
|                              |               | else of any (the mean of several)                 |
| vlm.3                        | `soft_prompt` | dead: the word for the asked colour               |
| expert.0 attention, then mlp | `action`      | goal - self, then the saturated target velocity   |
| expert.1 mlp                 | `action`      | target - noisy action: the flow's velocity        |

Truths that follow, each tested in `tests/adapters/test_toy_truth.py`:

- Zeroing the `instruction` tokens of `vlm.0.resid_post` changes nothing in `unique`, and in
  `shared` sends the point to the middle of the goals: no task succeeds. So does an empty prompt.
- Injecting the `soft_prompt` token of `vlm.1.resid_post` or `vlm.2.resid_post` from the run of
  another `shared` task of the same seed makes the point go to that task's goal; a random direction
  of equal norm leaves it at its own.
- Injecting the `soft_prompt` token before (`vlm.0.resid_post` or earlier), the `image.top` tokens
  anywhere, or the `instruction` tokens after vlm.1 does nothing: those are equal, or read no more.
- Injecting any live `resid_post` of the expert replays the other task's actions.
- Whatever is done at a dead point changes no action, though the asked colour is decodable there.
- Row c of `value_vectors(0)` unembeds to the word for colour c; clamping neuron c of
  `vlm.0.mlp_act` at 5 sends the point to colour c, whatever the prompt.
- Noise is contracted to 0.4^4 = 2.6% of its size by the four denoise steps.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from vlascope.adapter import AdapterInfo, VLAAdapter
from vlascope.errors import unknown_name
from vlascope.hooks import ATTENTION_SITE, HookPoint, Pathway, TokenSpans
from vlascope.noise import normal
from vlascope.specs import ActionSpec, CameraSpec, StateSpec
from vlascope.taps import InputTap, OutputTap, Tap
from vlascope.types import ActionChunk, Observation
from vlascope_adapters.toy import network as net
from vlascope_adapters.toy.weights import COLOURS, VOCABULARY, constructed

__all__ = ["ToyAdapter"]

_CAMERA, _STREAM = "top", "position"
_STREAMS = ("image", "instruction", "state", "soft_prompt")
_PATHWAYS = (
    Pathway("vision", net.VISION_LAYERS, net.VISION_WIDTH, 1, ("image",), net.VISION_FFN),
    Pathway("vlm", net.VLM_LAYERS, net.VLM_WIDTH, 1, _STREAMS, net.VLM_FFN),
    Pathway("expert", net.EXPERT_LAYERS, net.EXPERT_WIDTH, net.CALLS, ("action",), net.EXPERT_FFN),
)
_TAPS: Mapping[str, tuple[type[InputTap | OutputTap], str]] = {
    "resid_pre": (InputTap, ""),
    "attn_out": (OutputTap, ".attention"),
    "resid_mid": (OutputTap, ".mid"),
    "mlp_act": (OutputTap, ".mlp.act"),
    "mlp_out": (OutputTap, ".mlp"),
    "resid_post": (OutputTap, ""),
}


class ToyAdapter(VLAAdapter):
    """The toy policy."""

    name: ClassVar[str] = "toy"
    capabilities: ClassVar[frozenset[str]] = frozenset(
        {"unembedding", "value_vectors", "attention", "gradients"}
    )

    def __init__(self, model: net.ToyNetwork, checkpoint: str) -> None:
        self.model: net.ToyNetwork = model.eval().requires_grad_(False)
        self.info = AdapterInfo(
            name=self.name,
            checkpoint=checkpoint,
            checkpoint_hash=_hash(model),
            pathways=_PATHWAYS,
            horizon=net.HORIZON,
            executed_steps=2,
            action=ActionSpec(
                names=("x", "y"),
                control="point_velocity",
                frame="world",
                rotation="none",
                gripper="none",
                low=(-1.0, -1.0),
                high=(1.0, 1.0),
            ),
            state={_STREAM: StateSpec(names=("x", "y"), units=("m", "m"))},
            cameras={_CAMERA: CameraSpec(16, 16, render="fast")},
        )

    @classmethod
    def from_pretrained(
        cls, checkpoint: str = "bundled", *, device: str = "cpu", dtype: torch.dtype = torch.float32
    ) -> Self:
        """The constructed policy; `"bundled"` is the only checkpoint there is.

        Raises:
            UnknownName: another checkpoint was asked for.
        """
        if checkpoint != "bundled":
            raise unknown_name("toy checkpoint", checkpoint, ["bundled"])
        return cls(constructed().to(device=device, dtype=dtype), checkpoint)

    @classmethod
    def tiny(cls, seed: int = 0) -> Self:
        """The constructed policy with small random weights added everywhere."""
        model, generator = constructed(), torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
        return cls(model, f"tiny-{seed}")

    def hook_points(self) -> Mapping[HookPoint, Tap]:
        """Six sites of every block."""
        return {
            HookPoint(pathway.name, layer, site): tap(f"{pathway.name}.{layer}{module}")
            for pathway in _PATHWAYS
            for layer in range(pathway.n_layers)
            for site, (tap, module) in _TAPS.items()
        }

    def predict_chunk(
        self, observations: Sequence[Observation], *, generators: Sequence[torch.Generator]
    ) -> ActionChunk:
        """Velocities in m/s."""
        actions = self.differentiable_actions(observations, generators=generators)
        return ActionChunk(actions.detach().float().cpu().numpy())

    def differentiable_actions(
        self, observations: Sequence[Observation], *, generators: Sequence[torch.Generator]
    ) -> Tensor:
        """The same, (batch, 4, 2), as a tensor that carries gradients to hooked activations."""
        like = self.model.patch_position
        pictures = np.stack([o.images[_CAMERA] for o in observations])
        states = np.stack([o.state[_STREAM] for o in observations])
        words = [_indices(o.instruction) for o in observations]
        padded = [w + [0] * (net.MAX_WORDS - len(w)) for w in words]
        return self.model(
            torch.from_numpy(pictures).to(like) / 255,
            torch.tensor(padded, device=like.device),
            torch.from_numpy(states).to(like),
            normal(generators, (net.HORIZON, 2), device=like.device, dtype=like.dtype),
        )

    def token_spans(
        self, observations: Sequence[Observation], *, call: int = 0
    ) -> Mapping[str, tuple[TokenSpans, ...]]:
        """`image.top`, `instruction`, `padding`, `state`, `soft_prompt`; the expert: `action`."""
        image, action = TokenSpans.of_lengths({"image.top": net.PATCHES}), net.HORIZON
        rows = len(observations)
        return {
            "vision": (image,) * rows,
            "vlm": tuple(_vlm_spans(len(_indices(o.instruction))) for o in observations),
            "expert": (TokenSpans.of_lengths({"action": action}),) * rows,
        }

    def dead_points(self) -> frozenset[HookPoint]:
        """The last vlm block: the expert reads what leaves the one before."""
        last = net.VLM_LAYERS - 1
        return frozenset(HookPoint("vlm", last, site) for site in _TAPS)

    def attention_points(self) -> Mapping[HookPoint, Tap]:
        """Attention of every block, (batch, 1, queries, keys); the expert's keys: vlm, then own."""
        return {
            HookPoint(p.name, layer, ATTENTION_SITE): OutputTap(f"{p.name}.{layer}.attention.probs")
            for p in _PATHWAYS
            for layer in range(p.n_layers)
        }

    def unembedding(self) -> tuple[Tensor, Sequence[str]]:
        """The word embedding, (14, 128), and the words."""
        return self.model.words.weight.detach(), VOCABULARY

    def value_vectors(self, layer: int) -> Tensor:
        """What each of the 16 neurons of a vlm layer writes, (16, 128)."""
        return self.model.get_parameter(f"vlm.{layer}.mlp.down.weight").detach().T

    def example_observation(self, seed: int = 0) -> Observation:
        """Three coloured squares on noise, a prompt for one of them, a random position."""
        rng = np.random.default_rng(seed)
        picture = np.repeat(rng.integers(20, 60, (16, 16, 1), dtype=np.uint8), 3, axis=2)
        for channel, cell in enumerate(rng.choice(net.PATCHES, 3, replace=False)):
            row, column = 4 * (cell // 4) + rng.integers(0, 3), 4 * (cell % 4) + rng.integers(0, 3)
            picture[row : row + 2, column : column + 2] = 255 * np.eye(3, dtype=np.uint8)[channel]
        return Observation(
            instruction=f"go to the {COLOURS[seed % 3]} point",
            images={_CAMERA: picture},
            state={_STREAM: rng.uniform(-0.9, 0.9, 2).astype(np.float32)},
        )


def _vlm_spans(words: int) -> TokenSpans:
    lengths = {"image.top": net.PATCHES, "instruction": words}
    lengths |= {"padding": net.MAX_WORDS - words, "state": 1, "soft_prompt": 1}
    return TokenSpans.of_lengths(lengths)


def _indices(instruction: str) -> list[int]:
    """The first ten words by index; 1 for one that is not in the vocabulary."""
    words = re.findall(r"[a-z]+", instruction.lower())[: net.MAX_WORDS]
    return [VOCABULARY.index(w) if w in VOCABULARY else 1 for w in words]


def _hash(model: net.ToyNetwork) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().float().numpy().tobytes())
    return digest.hexdigest()
