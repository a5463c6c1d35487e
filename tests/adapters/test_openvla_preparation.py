"""What goes into OpenVLA: pictures and prompts as the published scripts prepare them."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

pytest.importorskip("timm")
pytest.importorskip("transformers")

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from vlascope.errors import CorruptFile
from vlascope_adapters.offline import ROBOT, byte_tokenizer
from vlascope_adapters.openvla.preparation import (
    PictureProcessor,
    Prompter,
    lanczos,
    middle,
    through_jpeg,
)
from vlascope_adapters.openvla.tiny import tiny_release

NOISE = np.random.default_rng(0).integers(0, 256, (30, 30, 3), dtype=np.uint8)


def test_the_middle_is_tensorflows_crop_and_resize():
    side = math.sqrt(0.9)
    y1, y2 = (1 - side) / 2, (1 - side) / 2 + side
    n = len(NOISE)
    pixels = NOISE.astype(np.float64) / 255
    for row, column in [(0, 0), (3, 17), (29, 29), (14, 2)]:
        y, x = (y1 * (n - 1) + i * (y2 - y1) * (n - 1) / (n - 1) for i in (row, column))
        top, left = int(y), int(x)
        upper = pixels[top, left] * (1 - (x - left)) + pixels[top, left + 1] * (x - left)
        lower = pixels[top + 1, left] * (1 - (x - left)) + pixels[top + 1, left + 1] * (x - left)
        value = upper * (1 - (y - top)) + lower * (y - top)
        got = middle(NOISE)[row, column].astype(int)
        assert np.abs(got - np.floor(value * 255.5)).max() <= 1


@pytest.mark.parametrize("size", [12, 56])
def test_resizing_weighs_pixels_by_a_lanczos_window(size):
    scale = len(NOISE) / size
    wide = max(scale, 1.0)

    def weights(place):
        distance = (np.arange(len(NOISE)) + 0.5 - (place + 0.5) * scale) / wide
        window = np.sinc(distance) * np.sinc(distance / 3) * (np.abs(distance) < 3)
        return window / window.sum()

    matrix = np.stack([weights(i) for i in range(size)])
    wanted = np.einsum("ay,bx,yxc->abc", matrix, matrix, NOISE.astype(np.float64))
    assert np.abs(lanczos(NOISE, size) - np.rint(wanted).clip(0, 255)).max() <= 1


def test_pictures_go_through_jpeg_as_those_of_training_did():
    smooth = np.tile(np.arange(0, 240, 8, dtype=np.uint8)[:, None, None], (1, 30, 3))
    assert np.abs(through_jpeg(smooth).astype(int) - smooth).max() <= 3
    assert not np.array_equal(through_jpeg(NOISE), NOISE)


def test_both_towers_get_the_picture_in_their_own_normalisation():
    prepared = tiny_release(ROBOT, 0).pictures
    picture = np.full((96, 96, 3), 100, np.uint8)
    pixels = prepared(picture)
    assert pixels.shape == (6, 56, 56)
    level = through_jpeg(picture)[0, 0, 0] / 255
    wanted = [(level - 0.484375) / 0.228515625, (level - 0.5) / 0.5]
    torch.testing.assert_close(pixels[[0, 3], 20, 20], torch.tensor(wanted).float())


def test_the_numbers_that_training_used_win_over_those_written_beside_them():
    exact, rounded = [0.485, 0.456, 0.406], [0.484375, 0.455078125, 0.40625]
    half = [0.5] * 3
    published = {
        "means": [exact, half],
        "stds": [half, half],
        "tvf_normalize_params": [{"mean": rounded, "std": half}, {"mean": half, "std": half}],
    }
    read = PictureProcessor.from_config(published, 224, crop=False)
    assert read.means[0] == tuple(rounded)
    del published["tvf_normalize_params"]
    assert PictureProcessor.from_config(published, 224, crop=False).means[0] == tuple(exact)
    with pytest.raises(CorruptFile, match="two vision towers"):
        PictureProcessor.from_config({}, 224, crop=False)
    assert PictureProcessor.from_config(json.loads(json.dumps(read.to_config())), 224, crop=False)


def test_the_prompt_is_the_published_one_and_ends_with_the_empty_word():
    prompter = tiny_release(ROBOT, 0).prompter
    tokenizer = prompter.tokenizer
    prompt = prompter("Open the Drawer")
    said = tokenizer.decode(list(prompt.ids[1:-1]))
    assert said == "In: What action should the robot take to open the drawer?\nOut:"
    assert tokenizer.decode(list(prompt.ids[slice(*prompt.words)])).strip() == "open the drawer"
    assert tokenizer.id_to_token(prompt.ids[0]) == "<s>"
    assert tokenizer.id_to_token(prompt.ids[-1]) == "\u2581"
    empty = prompter("")
    assert empty.words[0] == empty.words[1]


def test_another_models_tokenizer_is_refused(tmp_path):
    path = tmp_path / "tokenizer.json"
    byte_tokenizer(["<pad>"]).backend_tokenizer.save(str(path))
    with pytest.raises(CorruptFile, match="not OpenVLA's tokenizer"):
        Prompter.from_file(path)
    path.write_text("{")
    with pytest.raises(CorruptFile, match="is no tokenizer"):
        Prompter.from_file(path)


def test_a_llamas_tokens_of_the_instruction_are_found_by_their_place_in_the_text():
    inner = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    inner.normalizer = normalizers.Sequence(
        [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]
    )
    inner.pre_tokenizer = pre_tokenizers.Metaspace()
    specials = ["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256)), "\u2581"]
    trainer = trainers.BpeTrainer(vocab_size=500, special_tokens=specials, show_progress=False)
    inner.train_from_iterator(["In: What action should the robot take to open the drawer"], trainer)
    inner.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    prompter = Prompter(inner)
    for instruction in ("open the drawer", "Pick up", "a"):
        prompt = prompter(instruction)
        tokens = [inner.id_to_token(i) for i in prompt.ids[slice(*prompt.words)]]
        said = "".join(tokens).removeprefix("\u2581")
        assert said == instruction.lower().replace(" ", "\u2581")
