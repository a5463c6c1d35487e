"""The sizes of a TinyVLA; free of torch, so that recipes and commands load fast."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = ["Crop", "NetworkConfig"]


class Crop(BaseModel):
    """The square of the picture that the policy looks at, in pixels from the top left."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    row: int = Field(ge=0)
    column: int = Field(ge=0)
    size: int = Field(ge=12)


class NetworkConfig(BaseModel):
    """The shape of the network.

    Attributes:
        crop: what the vision pathway sees of the camera's picture.
        stem: channels of the first convolutions; the last one has `vision_width`.
        vision_layers, vlm_layers, expert_layers: blocks per pathway.
        vision_width, width: residual width of `vision`, and of `vlm` and `expert`.
        neurons_per_width: FFN neurons of a block, as a multiple of its width.
        heads: attention heads of every block.
        words: length that instructions are padded or cut to, in tokens.
        horizon: actions per chunk; of these, `executed` are carried out before the next look.
        denoise_steps: Euler steps from noise to actions, which is the expert's calls per chunk.
        hindsight: environment steps ahead at which the hand's position is predicted in training.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    crop: Crop
    stem: tuple[int, int] = (32, 64)
    vision_layers: int = Field(default=2, ge=1)
    vlm_layers: int = Field(default=4, ge=1)
    expert_layers: int = Field(default=3, ge=1)
    vision_width: int = 96
    width: int = 128
    neurons_per_width: int = Field(default=4, ge=1)
    heads: int = 4
    words: int = Field(default=10, ge=1)
    state_dim: int = 4
    action_dim: int = 4
    horizon: int = Field(default=8, ge=1)
    executed: int = Field(default=6, ge=1)
    denoise_steps: int = Field(default=5, ge=1)
    hindsight: tuple[int, ...] = (10, 20, 30)

    @model_validator(mode="after")
    def _sizes_divide(self) -> NetworkConfig:
        for name in ("vision_width", "width"):
            if getattr(self, name) % self.heads:
                raise ValueError(f"{name} {getattr(self, name)} has to divide into heads")
        if self.executed > self.horizon:
            raise ValueError(f"executes {self.executed} of a chunk of {self.horizon}")
        if self.crop.size % 12:
            raise ValueError(f"the crop has to be a multiple of 12 px, got {self.crop.size}")
        return self

    @property
    def image_tokens(self) -> int:
        """Image tokens: one for each 12x12 px patch of the crop."""
        return (self.crop.size // 12) ** 2
