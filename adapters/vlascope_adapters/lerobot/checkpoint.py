"""A lerobot checkpoint: its config, its pre- and post-processors, what it says of its data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from draccus.utils import DecodingError, ParsingError
from lerobot.configs import PreTrainedConfig
from lerobot.policies.factory import make_pre_post_processors
from safetensors import SafetensorError

from vlascope.errors import CorruptFile, FileMissing, IncompatibleError
from vlascope_adapters.checkpoints import read_json

__all__ = ["FILES", "Processors", "hints", "load_processors", "read_config"]

FILES = ("*.json", "*.safetensors", "*.model", "*.txt")
"""What is fetched of a repository on the hub."""

_PRE, _POST = "policy_preprocessor.json", "policy_postprocessor.json"


@dataclass(frozen=True, eq=False)
class Processors:
    """The upstream pipelines around a policy.

    Attributes:
        before: a dict of tensors and instructions to what `predict_action_chunk` takes.
        after: normalised actions, (rows, dim), to the robot's units.
    """

    before: Any
    after: Any


def read_config(folder: Path, kind: str, checkpoint: str) -> Any:
    """The upstream config of a checkpoint of the given kind.

    Raises:
        IncompatibleError: it is a checkpoint of another kind of policy.
        CorruptFile: the config has fields that this version of lerobot does not know.
    """
    said = read_json(folder, "config.json").get("type")
    if said != kind:
        other = f"a {said!r} checkpoint" if said else "no lerobot checkpoint (config.json: no type)"
        raise IncompatibleError(
            f"{checkpoint} is {other}, not {kind!r}; use the adapter of its kind"
        )
    try:
        return PreTrainedConfig.from_pretrained(folder)
    except (DecodingError, ParsingError, TypeError, ValueError) as error:
        raise CorruptFile(
            f"{folder / 'config.json'} is no {kind} config that lerobot 0.6.1 reads: {error}"
        ) from error


def hints(folder: Path, checkpoint: str) -> Iterator[str]:
    """Names that tell which robot a checkpoint was trained for: its own, its dataset's."""
    yield checkpoint.rstrip("/").rsplit("/", 1)[-1]
    if (folder / "train_config.json").is_file():
        trained = read_json(folder, "train_config.json")
        yield str((trained.get("dataset") or {}).get("repo_id") or "")
        yield str((trained.get("env") or {}).get("type") or "")


def load_processors(
    config: Any, folder: Path, checkpoint: str, *, device: str, tokenizer: str | None = None
) -> Processors:
    """The pipelines that were saved with a checkpoint.

    Args:
        config: the upstream config.
        folder: of the checkpoint.
        checkpoint: what to call it in errors.
        device: where tensors go.
        tokenizer: a folder or hub id to take the tokenizer from, instead of the one named in the
            checkpoint; by default the checkpoint's own folder, where it holds one.

    Raises:
        FileMissing: the checkpoint predates processor files, or a tokenizer cannot be had.
        CorruptFile: a file is not what it should be.
    """
    missing = [name for name in (_PRE, _POST) if not (folder / name).is_file()]
    if missing:
        raise FileMissing(
            f"{checkpoint} has no {' and no '.join(missing)}: it predates lerobot's processor "
            "files. Migrate it with `python -m lerobot.processor.migrate_policy_normalization "
            f"--pretrained-path {checkpoint}`, then load the folder that this writes"
        )
    steps = {step.get("registry_name"): step for step in read_json(folder, _PRE)["steps"]}
    own = folder if (folder / "tokenizer.json").is_file() else None
    named = tokenizer or (str(own) if own else None)
    overrides: dict[str, Mapping[str, Any]] = {}
    if "device_processor" in steps:
        overrides["device_processor"] = {"device": device}
    if "tokenizer_processor" in steps and named:
        overrides["tokenizer_processor"] = {"tokenizer_name": named}
    try:
        before, after = make_pre_post_processors(
            config, pretrained_path=str(folder), preprocessor_overrides=overrides
        )
    except FileNotFoundError as error:
        raise FileMissing(
            f"the processor files of {checkpoint} are not all there: {error}"
        ) from error
    except (KeyError, OSError, ValueError, SafetensorError) as error:
        if "'tokenizer_processor'" in str(error):
            asked = steps["tokenizer_processor"]["config"].get("tokenizer_name")
            raise _no_tokenizer(checkpoint, named or asked, error.__cause__ or error) from error
        raise CorruptFile(f"the processor files of {checkpoint} do not load: {error}") from error
    return Processors(before, after)


def _no_tokenizer(checkpoint: str, name: str, error: BaseException) -> FileMissing:
    """Upstream says that a step could not be made, and why in the cause of that."""
    why = str(error).splitlines()[0] if str(error) else type(error).__name__
    return FileMissing(
        f"{checkpoint} needs the tokenizer {name!r}, which cannot be had here ({why}). Where it is "
        f"gated, accept its terms at https://huggingface.co/{name} and `hf auth login`; or give "
        "a folder that holds it with tokenizer=FOLDER"
    )
