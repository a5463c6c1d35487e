"""my_policy as vlascope sees it. `Network` is a stand-in: put your own policy in its place."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from vlascope import (
    ActionChunk,
    ActionSpec,
    AdapterInfo,
    CameraSpec,
    HookPoint,
    Observation,
    Pathway,
    StateSpec,
    TokenSpans,
    VLAAdapter,
)
from vlascope.noise import normal
from vlascope.taps import InputTap, OutputTap, ResidualTap, Tap, block_points
from vlascope_adapters.checkpoints import digest, fetch, load_exactly, read_tensors

PATCHES, WORDS, WIDTH, HORIZON, CALLS = 16, 12, 32, 4, 3
VLM: Mapping[str, Any] = {
    "resid_pre": InputTap,
    "attn_out": lambda block: OutputTap(f"{block}.dropout1"),
    "resid_mid": lambda block: ResidualTap(f"{block}.norm1", f"{block}.dropout1"),
    "mlp_act": lambda block: OutputTap(f"{block}.dropout"),
    "mlp_out": lambda block: OutputTap(f"{block}.dropout2"),
    "resid_post": OutputTap,
}
EXPERT: Mapping[str, Any] = {
    **VLM,
    "attn_out": lambda block: OutputTap(f"{block}.dropout2"),
    "resid_mid": lambda block: ResidualTap(f"{block}.norm2", f"{block}.dropout2"),
    "mlp_out": lambda block: OutputTap(f"{block}.dropout3"),
}


class MyPolicyAdapter(VLAAdapter):
    """A transformer reads picture, words and state; an expert turns noise into actions."""

    name = "my_policy"

    def __init__(self, model: Network, checkpoint: str) -> None:
        self.model: Any = model.eval().requires_grad_(False)
        self.info = AdapterInfo(
            name=self.name,
            checkpoint=checkpoint,
            checkpoint_hash=digest(model),
            pathways=(
                Pathway("vlm", 2, WIDTH, 1, ("image", "instruction", "state"), 2 * WIDTH),
                Pathway("expert", 2, WIDTH, CALLS, ("action",), 2 * WIDTH),
            ),
            horizon=HORIZON,
            executed_steps=2,
            action=ActionSpec(
                ("x", "y"), "point_velocity", "world", "none", "none", (-1.0, -1.0), (1.0, 1.0)
            ),
            state={"position": StateSpec(("x", "y"), ("m", "m"))},
            cameras={"top": CameraSpec(16, 16, "fast")},
        )

    @classmethod
    def from_pretrained(
        cls, checkpoint: str, *, device: str = "cpu", dtype: torch.dtype = torch.float32
    ) -> Self:
        """`model.safetensors` of a folder or of a repository on the hub: all of it, or an error."""
        network, folder = Network(), fetch(checkpoint, ("*.json", "*.safetensors"))
        load_exactly(network, read_tensors(folder), checkpoint)
        return cls(network.to(device=device, dtype=dtype), checkpoint)

    @classmethod
    def tiny(cls, seed: int = 0) -> Self:
        """Random weights; build a big policy narrow here."""
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(seed)
            return cls(Network(), f"tiny-{seed}")

    def hook_points(self) -> Mapping[HookPoint, Tap]:
        """Six sites of every block, and the action head."""
        return {
            **block_points("vlm", ["vlm.0", "vlm.1"], VLM),
            **block_points("expert", ["expert.0", "expert.1"], EXPERT),
            HookPoint.parse("expert.action_head"): OutputTap("action_head"),
        }

    def predict_chunk(
        self, observations: Sequence[Observation], *, generators: Sequence[torch.Generator]
    ) -> ActionChunk:
        """Velocities in m/s."""
        like = self.model.position
        pictures = np.stack([o.images["top"] for o in observations]).transpose(0, 3, 1, 2)
        words = torch.tensor([_indices(o.instruction) for o in observations], device=like.device)
        states = np.stack([o.state["position"] for o in observations])
        noise = normal(generators, (HORIZON, 2), device=like.device, dtype=like.dtype)
        pixels = torch.from_numpy(pictures).to(like) / 255
        actions = self.model(pixels, words, torch.from_numpy(states).to(like), noise)
        return ActionChunk(actions.float().cpu().numpy())

    def token_spans(
        self, observations: Sequence[Observation], *, call: int = 0
    ) -> Mapping[str, tuple[TokenSpans, ...]]:
        """What each token carries, one entry a row: instructions differ in length."""
        expert = TokenSpans.of_lengths({"action": HORIZON})
        words = [sum(map(bool, _indices(o.instruction))) for o in observations]
        return {"vlm": tuple(map(_spans, words)), "expert": (expert,) * len(words)}


def _spans(words: int) -> TokenSpans:
    text = {"instruction": words, "padding": WORDS - words}
    return TokenSpans.of_lengths({"image.top": PATCHES, **text, "state": 1})


def _indices(instruction: str) -> list[int]:
    """Hashed words; 0 is padding."""
    words = [zlib.crc32(w.encode()) % 999 + 1 for w in instruction.lower().split()][:WORDS]
    return words + [0] * (WORDS - len(words))


class Network(nn.Module):
    """Sixteen patches, twelve words and the state go through `vlm`; `expert` reads them."""

    def __init__(self) -> None:
        super().__init__()
        # With ReLU or GELU torch may run a whole layer in one fused call, without its hooks.
        layer: dict[str, Any] = {"activation": functional.silu, "norm_first": True}
        layer |= {"nhead": 2, "dim_feedforward": 2 * WIDTH, "batch_first": True}
        self.patches = nn.Conv2d(3, WIDTH, 4, stride=4)
        self.words, self.state = nn.Embedding(1000, WIDTH), nn.Linear(2, WIDTH)
        self.position = nn.Parameter(torch.randn(PATCHES + WORDS + 1, WIDTH))
        self.vlm = nn.ModuleList(nn.TransformerEncoderLayer(WIDTH, **layer) for _ in range(2))
        self.noisy = nn.Linear(3, WIDTH)
        self.expert = nn.ModuleList(nn.TransformerDecoderLayer(WIDTH, **layer) for _ in range(2))
        self.action_head = nn.Linear(WIDTH, 2)

    def forward(self, pixels: Tensor, words: Tensor, state: Tensor, noise: Tensor) -> Tensor:
        """Actions, (batch, horizon, 2)."""
        patches = self.patches(pixels).flatten(2).transpose(1, 2)
        seen = torch.cat([patches, self.words(words), self.state(state)[:, None]], 1)
        seen, hidden = seen + self.position, functional.pad(words == 0, (PATCHES, 1))
        for block in self.vlm:
            seen = block(seen, src_key_padding_mask=hidden)
        for call in range(CALLS):
            time = noise.new_full((*noise.shape[:2], 1), call / CALLS)
            x = self.noisy(torch.cat([noise, time], -1))
            for block in self.expert:
                x = block(x, seen, memory_key_padding_mask=hidden)
            noise = noise + self.action_head(x) / CALLS
        return noise
