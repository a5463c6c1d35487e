"""GR00T N1.5's Eagle folder, good and bad: tokenizer, prompt, pictures."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("lerobot")

from vlascope.errors import CorruptFile, FileMissing, IncompatibleError
from vlascope_adapters.groot_n15.eagle import EAGLE, load_eagle
from vlascope_adapters.groot_n15.tiny import TOKENS, tiny_parts


@pytest.fixture
def folder(tmp_path):
    """Eagle's processor as `save_pretrained` writes it."""
    eagle = tiny_parts(0).eagle
    write_json(tmp_path / "config.json", eagle.config)
    look = {"size": {"height": 56, "width": 56}, "tokens_per_tile": 16}
    half = [0.5, 0.5, 0.5]
    write_json(
        tmp_path / "preprocessor_config.json", {**look, "image_mean": half, "image_std": half}
    )
    eagle.tokenizer.save_pretrained(tmp_path)
    return tmp_path


def write_json(path, content):
    path.write_text(json.dumps(content))


def change(path, **changes):
    write_json(path, {**json.loads(path.read_text()), **changes})


def test_the_tokenizer_may_be_in_qwens_own_files(folder):
    """As lerobot/eagle2hg-processor-groot-n1p5 has it, beside code that is not to be run."""
    eagle = folder
    vocabulary = json.loads((eagle / "tokenizer.json").read_text())["model"]["vocab"]
    load_eagle(str(eagle)).tokenizer.backend_tokenizer.model.save(str(eagle))
    (eagle / "tokenizer.json").unlink()
    added = {str(vocabulary[token]): {"content": token, "special": True} for token in TOKENS}
    named = {"tokenizer_class": "Qwen2Tokenizer", "pad_token": TOKENS[0]}
    write_json(eagle / "tokenizer_config.json", {**named, "added_tokens_decoder": added})
    change(eagle / "config.json", auto_map={"AutoConfig": "configuration_eagle2_5_vl.Config"})
    ids, mask = load_eagle(str(eagle)).encode(["push", "open the drawer"], 1)
    said = load_eagle(str(eagle)).tokenizer.decode(ids[0][mask[0]])
    assert said.endswith("</img>['push']<|im_end|>\n<|im_start|>assistant\n")
    assert int((ids == 5).sum()) == 32
    (eagle / "merges.txt").write_bytes(b"#version: 0.2\n\xff")
    with pytest.raises(CorruptFile, match=r"the tokenizer in .* does not load"):
        load_eagle(str(eagle))


def test_the_folders_own_chat_template_is_used(folder):
    write_json(
        folder / "chat_template.json", {"chat_template": "<|im_start|><image-1>words<|im_end|>"}
    )
    ids, _ = load_eagle(str(folder)).encode(["push"], 1)
    said = load_eagle(str(folder)).tokenizer.decode(ids[0])
    assert said == f"<|im_start|><image 1><img>{'<IMG_CONTEXT>' * 16}</img>words<|im_end|>"


def test_another_eagle_is_refused(folder):
    config = folder / "config.json"
    change(config, image_token_index=9)
    with pytest.raises(CorruptFile, match=r"gives <IMG_CONTEXT> the id 5, config\.json says 9"):
        load_eagle(str(folder))
    change(config, image_token_index=5, use_pixel_shuffle=True)
    with pytest.raises(CorruptFile, match=r"16 tokens a picture, and config\.json makes 4"):
        load_eagle(str(folder))
    change(config, text_config={"architectures": ["LlamaForCausalLM"]})
    with pytest.raises(IncompatibleError, match="language model LlamaForCausalLM"):
        load_eagle(str(folder))
    write_json(config, {"model_type": "eagle_chat"})
    with pytest.raises(IncompatibleError, match=r"is not of Eagle 2\.5: it has no vision_config"):
        load_eagle(str(folder))


def test_an_eagle_without_a_tokenizer_is_refused(folder):
    for file in folder.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(FileMissing, match=r"no tokenizer: neither vocab\.json"):
        load_eagle(str(folder))


def test_an_eagle_that_is_not_there_is_told_how_to_be_had(tmp_path):
    with pytest.raises(FileMissing, match=f"hf download {EAGLE}.*eagle=FOLDER"):
        load_eagle(str(tmp_path / "nowhere"))
    with pytest.raises(FileMissing, match=r"no config\.json"):
        load_eagle(str(tmp_path))


def test_pictures_are_cropped_resized_and_scaled():
    eagle = tiny_parts(0).eagle
    picture = np.zeros((96, 96, 3), np.uint8)
    picture[2:94, 2:94] = 255
    shown = eagle.picture(picture, crop=0.95)
    assert shown.shape == (3, 56, 56)
    assert shown.min() == 1.0
    assert eagle.picture(picture, crop=1.0).min() < 1.0
    whole = eagle.picture(picture, crop=None)
    assert whole.shape == (3, 56, 56)
    assert whole.min() < 1.0
