"""Eagle's processor folder: its config, its tokenizer, its prompt, and how it looks at pictures."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode, functional
from transformers import PreTrainedTokenizerFast, Qwen2Tokenizer

from vlascope.errors import CorruptFile, FileMissing, IncompatibleError
from vlascope.hooks import TokenSpans
from vlascope.types import Image
from vlascope_adapters.checkpoints import fetch, read_json
from vlascope_adapters.groot_n15.network import LANGUAGE_MODELS

__all__ = ["EAGLE", "Eagle", "load_eagle"]

EAGLE = "lerobot/eagle2hg-processor-groot-n1p5"
"""Where Eagle's config, tokenizer and prompt are, which no checkpoint of N1.5 holds."""

_FILES = ("*.json", "*.txt", "*.jinja")
_IMAGE, _OPEN, _CLOSE, _END = "<IMG_CONTEXT>", "<img>", "</img>", "<|im_end|>"
_TEMPLATE = (
    "{% for message in messages %}"
    "<|im_start|>system\nYou are a helpful assistant.\n<|im_end|>\n<|im_start|>{{ message.role }}\n"
    "{% for item in message.content %}{% if item.type == 'image' %}<image-{{ loop.index }}>"
    "{% else %}{{ item.text }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{{ '<|im_start|>assistant\n' }}"
)
"""What processing_eagle2_5_vl.py's `py_apply_chat_template` writes for one message."""


@dataclass(frozen=True, eq=False)
class Eagle:
    """What Eagle's processor does, for one tile a picture, as GR00T calls it.

    Attributes:
        config: Eagle's `config.json`.
        tokenizer: of its language model.
        pixels: the side of the square that it looks at.
        mean, std: pictures are shown as (value / 255 - mean) / std, by channel.
        template: the chat template.
    """

    config: Mapping[str, Any]
    tokenizer: Any
    pixels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    template: str = _TEMPLATE

    @property
    def patches(self) -> int:
        """Tokens of the vision tower that a picture takes."""
        return (self.pixels // int(self.config["vision_config"]["patch_size"])) ** 2

    @property
    def tokens_per_picture(self) -> int:
        """Tokens of the language model that a picture takes."""
        if not self.config["use_pixel_shuffle"]:
            return self.patches
        return int(self.patches * self.config["downsample_ratio"] ** 2)

    def picture(self, picture: Image, crop: float | None) -> Tensor:
        """A picture, uint8 (height, width, 3), as the network sees it.

        With a crop, as upstream's data configs do: the middle of it, resized bilinearly to Eagle's
        square and rounded down to whole numbers. Without, as lerobot did: all of it, resized
        bicubically by Eagle. Float32 (3, pixels, pixels), normalised.
        """
        frame, square = torch.from_numpy(picture).permute(2, 0, 1), [self.pixels, self.pixels]
        if crop is None:
            values = functional.resize(frame, square, InterpolationMode.BICUBIC, antialias=True)
        else:
            height, width = (int(side * crop) for side in frame.shape[1:])
            middle = functional.center_crop(frame.float() / 255, [height, width])
            small = functional.resize(middle, square, InterpolationMode.BILINEAR, antialias=True)
            values = (small * 255).to(torch.uint8)
        mean, std = (255 * torch.tensor(n)[:, None, None] for n in (self.mean, self.std))
        return (values.float() - mean) / std

    def encode(self, instructions: Sequence[str], pictures: int) -> tuple[Tensor, Tensor]:
        """Token ids (batch, tokens), padded at the left, and the mask that is False at padding."""
        encoded = self.tokenizer(
            [self._prompt(text, pictures) for text in instructions],
            padding=True,
            padding_side="left",
            return_tensors="pt",
        )
        return encoded["input_ids"], encoded["attention_mask"].bool()

    def spans(self, ids: Tensor, mask: Tensor, cameras: Sequence[str]) -> TokenSpans:
        """What each token of one row carries; `template.*` is what the prompt adds around it."""
        names = (_IMAGE, _CLOSE, _END)
        image, close, end = (self.tokenizer.convert_tokens_to_ids(name) for name in names)
        first = int((~mask).sum())
        closed = [place for place, token in enumerate(ids.tolist()) if token == close]
        spans = {"padding": (0, first)} if first else {}
        for camera, after in zip(cameras, closed, strict=True):
            start = after - int((ids[first:after] == image).sum())
            spans |= {f"template.{camera}": (first, start), f"image.{camera}": (start, after)}
            first = after
        said = closed[-1] + 1
        stop = said + ids[said:].tolist().index(end)
        spans |= {"template.image_end": (first, said)}
        spans |= {"instruction": (said, stop), "template.answer": (stop, len(ids))}
        return TokenSpans(spans)

    def words(self) -> list[str]:
        """Every row of the vocabulary; rows that no token has are `<unused>`."""
        known = {index: token for token, index in self.tokenizer.get_vocab().items()}
        size = int(self.config["text_config"]["vocab_size"])
        return [known.get(index, "<unused>") for index in range(size)]

    def _prompt(self, instruction: str, pictures: int) -> str:
        """The text of one row. Upstream's inference says the instruction as a Python list."""
        content = [{"type": "image", "image": ""} for _ in range(pictures)]
        content.append({"type": "text", "text": str([instruction])})
        text = self.tokenizer.apply_chat_template(
            [{"role": "user", "content": content}],
            chat_template=self.template,
            tokenize=False,
            add_generation_prompt=True,
        )
        for number in range(1, pictures + 1):
            tokens = f"<image {number}>{_OPEN}{_IMAGE * self.tokens_per_picture}{_CLOSE}"
            text = text.replace(f"<image-{number}>", tokens, 1)
        return text


def load_eagle(source: str) -> Eagle:
    """Eagle's processor from a folder or a hub id.

    Raises:
        FileMissing: it is not there; says how to get it.
        CorruptFile: a file is not what it should be.
        IncompatibleError: it is another Eagle than GR00T N1.5's.
    """
    try:
        folder = fetch(source, _FILES)
        config, look = (
            read_json(folder, "config.json"),
            read_json(folder, "preprocessor_config.json"),
        )
    except FileMissing as error:
        raise FileMissing(
            f"GR00T N1.5 needs Eagle's config, tokenizer and prompt, which its checkpoints do not "
            f"hold, and {source!r} does not give them: {error}. With a network run `hf download "
            f"{EAGLE}`; elsewhere give the folder that it filled with eagle=FOLDER"
        ) from error
    _check(config, folder)
    eagle = Eagle(
        config=config,
        tokenizer=_tokenizer(folder),
        pixels=int(look["size"]["height"]),
        mean=tuple(look["image_mean"]),
        std=tuple(look["image_std"]),
        template=_template(folder),
    )
    _check_tokens(eagle, folder, look)
    return eagle


def _check(config: Mapping[str, Any], folder: Path) -> None:
    needed = ("vision_config", "text_config", "image_token_index", "use_pixel_shuffle")
    lacking = [key for key in (*needed, "mlp_connector_layers") if key not in config]
    if lacking:
        raise IncompatibleError(
            f"{folder / 'config.json'} is not of Eagle 2.5: it has no {', '.join(lacking)}. "
            f"GR00T N1.5 was trained with the one in {EAGLE}"
        )
    language = config["text_config"].get("architectures") or [None]
    if language[0] not in LANGUAGE_MODELS or config.get("select_layer", -1) != -1:
        raise IncompatibleError(
            f"{folder / 'config.json'} has the language model {language[0]} and reads vision layer "
            f"{config.get('select_layer')}; GR00T N1.5's Eagle has one of "
            f"{', '.join(LANGUAGE_MODELS)} and reads the last"
        )


def _check_tokens(eagle: Eagle, folder: Path, look: Mapping[str, Any]) -> None:
    found = eagle.tokenizer.convert_tokens_to_ids(_IMAGE)
    if found != eagle.config["image_token_index"]:
        raise CorruptFile(
            f"the tokenizer in {folder} gives {_IMAGE} the id {found}, config.json says "
            f"{eagle.config['image_token_index']}: they are of different models"
        )
    tokens = look.get("tokens_per_tile")
    if tokens not in (None, eagle.tokens_per_picture):
        raise CorruptFile(
            f"{folder / 'preprocessor_config.json'} speaks of {tokens} tokens a picture, and "
            f"config.json makes {eagle.tokens_per_picture}: they are of different models"
        )


def _tokenizer(folder: Path) -> Any:
    """Qwen's tokenizer. Not `AutoTokenizer`, which asks to run the code that the folder names."""
    files = {file.name for file in folder.iterdir()}
    if not ({"tokenizer.json"} <= files or {"vocab.json", "merges.txt"} <= files):
        raise FileMissing(
            f"{folder} holds no tokenizer: neither vocab.json with merges.txt nor tokenizer.json. "
            f"{EAGLE} has the first; give another folder with eagle=FOLDER"
        )
    kind: Any = PreTrainedTokenizerFast if "tokenizer.json" in files else Qwen2Tokenizer
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # transformers on tokenizers
            return kind.from_pretrained(folder)
    except Exception as error:  # what a broken file raises varies with the part that is broken
        reason = str(error).strip().partition("\n")[0]
        raise CorruptFile(
            f"the tokenizer in {folder} does not load ({type(error).__name__}: {reason}); "
            "download it again"
        ) from error


def _template(folder: Path) -> str:
    """The processor's own chat template, where the folder has one."""
    if (folder / "chat_template.jinja").is_file():
        return (folder / "chat_template.jinja").read_text(encoding="utf-8")
    if (folder / "chat_template.json").is_file():
        return str(read_json(folder, "chat_template.json")["chat_template"])
    return _TEMPLATE
