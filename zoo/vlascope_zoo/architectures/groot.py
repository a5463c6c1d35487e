"""GR00T N1.7 at small width: lerobot's `GrootPolicy`, trained by its own flow matching."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from lerobot.policies.groot.configuration_groot import GrootConfig
from lerobot.policies.groot.groot_n1_7 import CategorySpecificLinear
from lerobot.policies.groot.processor_groot import (
    GrootN17PackInputsStep,
    GrootN17VLMEncodeStep,
    make_groot_pre_post_processors,
)
from torch import Tensor, nn
from transformers.feature_extraction_utils import BatchFeature

from vlascope_adapters.lerobot.checkpoint import Processors
from vlascope_adapters.lerobot.groot_built import built, network_at
from vlascope_adapters.lerobot.groot_loading import step_of
from vlascope_adapters.lerobot.groot_taps import padding_masked
from vlascope_adapters.offline import seeded
from vlascope_zoo.architecture import Architecture, Batch, Statistics
from vlascope_zoo.architectures import attention, beginnings, saving
from vlascope_zoo.architectures.groot_backbone import (
    BASE,
    PIXELS,
    VLM,
    Sizes,
    write_base,
    write_vlm,
)
from vlascope_zoo.architectures.groot_inputs import CROP, Inputs
from vlascope_zoo.features import dataset_statistics, features
from vlascope_zoo.recipe import Recipe

__all__ = ["GR00T"]

_LAST = (
    "o_proj.weight", "down_proj.weight", "attn.proj.weight", "linear_fc2.weight",
    "to_out.0.weight", "ff.net.2.weight",
)  # fmt: skip
_FAINT = 0.1


class GR00T(Architecture):
    """Qwen3-VL, the self-attention stack, the diffusion transformer; one camera, one robot."""

    _sizes: Sizes
    _horizon: int
    _processors: Processors
    _inputs: Inputs

    def build(self, recipe: Recipe, statistics: Statistics, folder: Path) -> nn.Module:
        """Unit gain, places known, patches as pictures have them; nothing is read from `folder`."""
        self._sizes, self._horizon = Sizes.model_validate(recipe.sizes), recipe.horizon
        config = GrootConfig(
            **features(),
            device="cpu",
            base_model_path=BASE,
            use_bf16=False,
            tune_llm=True,
            tune_visual=True,
            chunk_size=recipe.horizon,
            n_action_steps=recipe.executed,
            max_state_dim=4,
            max_action_dim=4,
        )
        with TemporaryDirectory() as inside:
            write_base(Path(inside), self._sizes, recipe.horizon)
            with seeded(recipe.seed):
                policy = built(config, network_at(Path(inside)))
                _begin(policy._groot_model, self._sizes, statistics)
            _train_fast(policy._groot_model)
            self._processors = self._pipelines(config, statistics)
        return policy

    def loss(self, policy: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        """Mean squared error of velocities; several noises a picture, which is read once."""
        upstream: Any = policy
        model, where = upstream._groot_model, torch.rand(len(batch.state), 2, generator=generator)
        seen, done = model.prepare_input(self._inputs(batch, where))
        with padding_masked(model.action_head, seen["attention_mask"] == 1), attention.plainly():
            read = model.action_head.process_backbone_output(model.backbone(seen))
        times = self._sizes.flow_samples
        repeated = BatchFeature({k: v.repeat_interleave(times, 0) for k, v in read.items()})
        targets = ("state", "action", "action_mask", "embodiment_id")
        wanted = BatchFeature({k: done[k].repeat_interleave(times, 0) for k in targets})
        model.action_head.process_backbone_output = lambda processed: processed
        try:
            with attention.plainly():
                return model.action_head(repeated, wanted)["loss"]
        finally:
            del model.action_head.process_backbone_output

    def save(self, policy: nn.Module, folder: Path) -> None:
        """As lerobot does, with `base/` and `vlm/`, which the loader finds beside."""
        saving.write(policy, self._processors, folder)
        write_base(folder / BASE, self._sizes, self._horizon)
        write_vlm(folder / VLM, self._sizes)

    def _pipelines(self, config: GrootConfig, statistics: Statistics) -> Processors:
        """Upstream's, for pictures of 96 pixels and one robot."""
        before, after = make_groot_pre_post_processors(config, dataset_statistics(statistics))
        pack = step_of(before, GrootN17PackInputsStep, BASE)
        encode = step_of(before, GrootN17VLMEncodeStep, BASE)
        pack.embodiment_mapping = {pack.embodiment_tag: 0}
        encode.image_target_size, encode.image_crop_size = [PIXELS] * 2, [CROP] * 2
        with TemporaryDirectory() as inside:
            write_vlm(Path(inside), self._sizes)
            encode.model_name = inside
            _ = encode.proc
        encode.model_name = VLM
        self._inputs = Inputs(pack, encode)
        return Processors(before, after)


@torch.no_grad()
def _begin(model: Any, sizes: Sizes, statistics: Statistics) -> None:
    """Weights that pass signals on; time starts faint, so that places and pictures are seen."""
    beginnings.draw(model, _LAST, sizes.layers)
    backbone, head = model.backbone.model.model, model.action_head
    backbone.language_model.embed_tokens.weight.normal_(std=0.5)
    tower = backbone.visual
    across = sizes.across
    tower.pos_embed.weight.copy_(beginnings.sines_2d(across, across, sizes.vision_width))
    filters, bias = beginnings.patch_filters(statistics.pixels, sizes.patch, sizes.vision_width)
    patches = tower.patch_embed.proj
    patches.weight.copy_(filters[:, :, None].expand_as(patches.weight) / patches.weight.shape[2])
    patches.bias.copy_(bias)
    for module in head.modules():
        if isinstance(module, CategorySpecificLinear):
            module.W.normal_(std=module.W.shape[1] ** -0.5)
            module.b.zero_()
    places = torch.arange(head.config.max_seq_len)
    head.position_embedding.weight.copy_(
        beginnings.sines(places, sizes.expert_width, longest=4.0 * len(places))
    )
    head.action_decoder.layer2.W.mul_(_FAINT)
    for block in head.model.transformer_blocks:
        block.norm1.linear.weight.mul_(_FAINT)


def _train_fast(model: Any) -> None:
    """The same numbers in fewer operations, as there is one robot and pictures of one size."""
    backbone = model.backbone.model.model
    backbone.language_model.config._attn_implementation = attention.PLAIN
    backbone.visual.config._attn_implementation = attention.PACKED
    for module in model.modules():
        if isinstance(module, CategorySpecificLinear):
            module.forward = partial(_of_one_robot, module)


def _of_one_robot(linear: CategorySpecificLinear, given: Tensor, _robot: Tensor) -> Tensor:
    """(batch, tokens, given) to (batch, tokens, wanted); upstream copies the weights a row."""
    return given @ linear.W[0] + linear.b[0]
