"""ACT (Zhao et al. 2023, arXiv:2304.13705) as lerobot's `ACTPolicy`: pictures, no language."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any, ClassVar, Self

import torch
import torchvision
from lerobot.configs import FeatureType, PolicyFeature
from lerobot.policies.act.configuration_act import ACTConfig
from lerobot.policies.act.modeling_act import ACTPolicy
from lerobot.policies.act.processor_act import make_act_pre_post_processors
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, ResNet

from vlascope.hooks import HookPoint, Pathway, TokenSpans
from vlascope.taps import InputTap, OutputTap, Tap, TokenTap, block_points, single_token
from vlascope.types import Observation
from vlascope_adapters.lerobot import tiny
from vlascope_adapters.lerobot.checkpoint import Processors
from vlascope_adapters.lerobot.policy import STATE, LeRobotAdapter

__all__ = ["ACTAdapter", "at_real_size", "narrow_backbones"]

_seq_first = partial(OutputTap, seq_first=True)


def _map(tap: Tap) -> TokenTap:
    """A feature map (batch, channels, height, width), its pixels as tokens in row-major order."""
    return TokenTap(
        tap,
        lambda value: value.flatten(2).transpose(1, 2),
        lambda new, like: new.transpose(1, 2).reshape(like.shape),
    )


_VISION: Mapping[str, Callable[[str], Tap]] = {
    "resid_pre": lambda block: _map(InputTap(block)),
    "resid_post": lambda block: _map(OutputTap(block)),
}
_ENCODER: Mapping[str, Callable[[str], Tap]] = {
    "resid_pre": lambda block: InputTap(block, seq_first=True),
    "attn_out": lambda block: _seq_first(f"{block}.dropout1"),
    "resid_mid": lambda block: _seq_first(f"{block}.norm1"),
    "mlp_act": lambda block: _seq_first(f"{block}.dropout"),
    "mlp_out": lambda block: _seq_first(f"{block}.dropout2"),
    "resid_post": _seq_first,
}
_DECODER: Mapping[str, Callable[[str], Tap]] = {
    **_ENCODER,
    "attn_out": lambda block: _seq_first(f"{block}.dropout2"),
    "resid_mid": lambda block: _seq_first(f"{block}.norm2"),
    "mlp_out": lambda block: _seq_first(f"{block}.dropout3"),
}
_NAMED: Mapping[HookPoint, Tap] = {
    HookPoint("vision", None, "projector"): _map(OutputTap("model.encoder_img_feat_input_proj")),
    HookPoint("encoder", None, "state_encoder"): single_token(
        OutputTap("model.encoder_robot_state_input_proj")
    ),
    HookPoint("encoder", None, "latent"): single_token(
        OutputTap("model.encoder_latent_input_proj")
    ),
    HookPoint("decoder", None, "action_head"): OutputTap("model.action_head"),
}


class ACTAdapter(LeRobotAdapter):
    """Action Chunking with Transformers.

    Vision is a ResNet whose stages are the blocks, run once per camera; its tokens are the pixels
    of the feature map. The encoder mixes the latent (zeros at inference), the state and every
    camera's tokens; the decoder's queries, one an action, read it. `attn_out` of the decoder is
    what its cross-attention adds. Blocks normalise after each sum, so that `resid_mid` and
    `resid_post` are normalised already; a branch's output is added before that norm. A policy
    trained with `pre_norm` has `resid_mid` before the norm, which no module computes, and so has
    no such point.
    """

    name: ClassVar[str] = "act"
    kind: ClassVar[str] = "act"
    capabilities: ClassVar[frozenset[str]] = frozenset({"gradients"})
    expected_failures: ClassVar[Mapping[str, str]] = {
        "instruction_reaches_the_action": "ACT has no language: every instruction is ignored"
    }

    @classmethod
    def tiny(cls, seed: int = 0) -> Self:
        """A ResNet of 8 to 64 channels, two encoder layers, one decoder layer of width 32."""
        config = ACTConfig(
            **tiny.features(),
            device="cpu",
            vision_backbone="resnet_tiny",
            pretrained_backbone_weights=None,
            dim_model=32,
            n_heads=4,
            dim_feedforward=64,
            n_encoder_layers=2,
            n_vae_encoder_layers=1,
            chunk_size=10,
            n_action_steps=5,
        )
        with tiny.seeded(seed), narrow_backbones():
            policy = ACTPolicy(config)
        pipelines = make_act_pre_post_processors(config, tiny.statistics(seed))
        return cls(policy, Processors(*pipelines), tiny.ROBOT, f"tiny-{seed}")

    def pathways(self) -> tuple[Pathway, ...]:
        """vision, once a camera; encoder; decoder."""
        config, stages = self.config, self._stages()
        widths = tuple(_channels(self.model.get_submodule(stage)) for stage in stages)
        images = tuple(f"image.{camera}" for camera in self.views.values())
        ffn = config.dim_feedforward
        return (
            Pathway("vision", len(stages), widths[-1], len(images), images, block_widths=widths),
            Pathway(
                "encoder", config.n_encoder_layers, config.dim_model, 1,
                ("latent", "state", *images), ffn,
            ),
            Pathway("decoder", config.n_decoder_layers, config.dim_model, 1, ("action",), ffn),
        )  # fmt: skip

    def hook_points(self) -> Mapping[HookPoint, Tap]:
        """Stages of the ResNet, six sites of every encoder and decoder block, four named points."""
        layers = {
            name: [f"model.{name}.layers.{i}" for i in range(self.info.pathway(name).n_layers)]
            for name in ("encoder", "decoder")
        }
        blocks = {
            **block_points("vision", self._stages(), _VISION),
            **block_points("encoder", layers["encoder"], self._sites(_ENCODER)),
            **block_points("decoder", layers["decoder"], self._sites(_DECODER)),
        }
        return {**blocks, **_NAMED}

    def token_spans(
        self, observations: Sequence[Observation], *, call: int = 0
    ) -> Mapping[str, tuple[TokenSpans, ...]]:
        """`latent`, `state` and the pixels of each camera's feature map; the decoder: `action`."""
        rows = len(observations)
        cameras = {f"image.{camera}": camera for camera in self.views.values()}
        stream, seen = list(cameras.items())[call % len(cameras)]
        maps = {f"vision.{stage}": {stream: self._pixels_at(stage, seen)} for stage in range(4)}
        maps |= {f"vision.{stage + 1}.resid_pre": maps[f"vision.{stage}"] for stage in range(3)}
        encoder = {name: self._pixels_at(3, camera) for name, camera in cameras.items()}
        lengths: dict[str, dict[str, int]] = {
            **maps,
            "vision.projector": maps["vision.3"],
            "encoder": {"latent": 1, "state": 1, **encoder},
            "encoder.latent": {"latent": 1},
            "encoder.state_encoder": {"state": 1},
            "decoder": {"action": self.config.chunk_size},
        }
        return {where: (TokenSpans.of_lengths(n),) * rows for where, n in lengths.items()}

    def differentiable_actions(
        self, observations: Sequence[Observation], *, generators: Sequence[torch.Generator]
    ) -> Tensor:
        """The same chunk, (batch, horizon, dim), with gradients to activations."""
        batch = self.batch(observations)
        pictures = [batch[feature] for feature in self.config.image_features]
        return self._decoded(self.model.model({**batch, "observation.images": pictures})[0])

    def _chunk(self, batch: dict[str, Any], generators: Sequence[torch.Generator]) -> Tensor:
        return self.model.predict_action_chunk(batch)

    def _stages(self) -> list[str]:
        return [f"model.backbone.layer{i}" for i in range(1, 5)]

    def _sites(self, sites: Mapping[str, Callable[[str], Tap]]) -> Mapping[str, Any]:
        if not self.config.pre_norm:
            return sites
        return {site: tap for site, tap in sites.items() if site != "resid_mid"}

    def _pixels_at(self, stage: int, camera: str) -> int:
        """How many pixels a stage's feature map has; convolutions before them shrink it by 4."""
        spec, shrunk = self.info.cameras[camera], 4
        for name in self._stages()[: stage + 1]:
            shrunk *= _stride(self.model.get_submodule(name))
        return -(-spec.height // shrunk) * -(-spec.width // shrunk)

    @classmethod
    def _prepare(cls, config: Any, folder: Any, dtype: torch.dtype) -> None:
        config.pretrained_backbone_weights = None  # they come with the checkpoint

    @classmethod
    def _building(cls, config: Any) -> AbstractContextManager[Any]:
        """Besides torchvision's own ResNets, the narrow ones made here."""
        return narrow_backbones()


def at_real_size() -> Any:
    """The published configuration (one arm pair, four cameras) on the meta device: shapes only."""
    picture = PolicyFeature(FeatureType.VISUAL, (3, 480, 640))
    joints = PolicyFeature(FeatureType.STATE, (14,))
    config = ACTConfig(
        input_features={f"observation.images.cam{i}": picture for i in range(4)} | {STATE: joints},
        output_features={"action": PolicyFeature(FeatureType.ACTION, (14,))},
        pretrained_backbone_weights=None,
        device="cpu",
    )
    with torch.device("meta"):
        return ACTPolicy(config)


def _channels(stage: nn.Module) -> int:
    """What leaves a ResNet stage."""
    last: Any = list(stage.children())[-1]
    norm = getattr(last, "bn3", None) or last.bn2
    return len(norm.weight)


def _stride(stage: nn.Module) -> int:
    """By how much a ResNet stage shrinks a side: its first block does, in either convolution."""
    first: Any = next(stage.children())
    return max(first.conv1.stride[0], first.conv2.stride[0])


class _NarrowResNet(ResNet):  # type: ignore[misc]
    """torchvision's ResNet of one block a stage, with a fraction of the channels.

    Without `shrinks_last`, the last stage keeps the size of its input.
    """

    def __init__(self, share: int, shrinks_last: bool, **kwargs: Any) -> None:
        self._share, self._last = share, None if shrinks_last else 512
        super().__init__(BasicBlock, [1, 1, 1, 1], norm_layer=kwargs.get("norm_layer"))
        self.fc = nn.Linear(512 // share, 1)

    def _make_layer(self, block: Any, planes: int, *args: Any, **kwargs: Any) -> nn.Sequential:
        if planes == self._last:
            kwargs["stride"] = 1
        return super()._make_layer(block, planes // self._share, *args, **kwargs)


_NARROW: Mapping[str, Callable[..., ResNet]] = {
    "resnet_tiny": partial(_NarrowResNet, 8, True),
    "resnet_quarter": partial(_NarrowResNet, 4, False),
}


@contextmanager
def narrow_backbones() -> Iterator[None]:
    """Let torchvision know `resnet_tiny` and `resnet_quarter` while a policy is built."""
    models: Any = torchvision.models
    for name, make in _NARROW.items():
        setattr(models, name, make)
    try:
        yield
    finally:
        for name in _NARROW:
            delattr(models, name)
