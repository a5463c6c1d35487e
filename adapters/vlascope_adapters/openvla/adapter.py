"""OpenVLA as vlascope sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from vlascope.adapter import AdapterInfo, VLAAdapter
from vlascope.errors import IncompatibleError, unknown_name
from vlascope.hooks import HookPoint, Pathway, TokenSpans
from vlascope.taps import Tap
from vlascope.types import ActionChunk, Observation
from vlascope_adapters.checkpoints import digest, fetch, load_exactly, read_tensors
from vlascope_adapters.offline import ROBOT
from vlascope_adapters.openvla import points
from vlascope_adapters.openvla.architecture import Architecture
from vlascope_adapters.openvla.checkpoint import FILES, Release, has_component, read_release
from vlascope_adapters.openvla.decoding import Bounds, bin_centres, detokenised, gripper_commands
from vlascope_adapters.openvla.network import OpenVLA
from vlascope_adapters.openvla.spans import prompt_spans, same_for, vision_spans
from vlascope_adapters.openvla.tiny import tiny_release, with_reactive_weights
from vlascope_adapters.robots import Robot, robot_for

__all__ = ["OpenVLAAdapter", "at_real_size"]


class OpenVLAAdapter(VLAAdapter):
    """A vision-language model that says an action as words, one token a number.

    Pathways: `vision` (DINOv2, `featurizer` in the checkpoints) and `vision_fused` (SigLIP,
    `fused_featurizer`) look at the same picture side by side; `vlm` is the Llama, whose first call
    reads the whole prompt and whose later calls read the token said last, with the keys and values
    of all earlier ones. The last block of each tower is computed and not used.

    Attributes:
        release: what came with the weights.
        robot: what the numbers mean.
        cameras: what it looks at, in the order of its training.
        bounds: what -1 to 1 stands for, of `action` and, where the state is read, `proprio`.
        reads_state: whether the robot's state goes in.
    """

    name: ClassVar[str] = "openvla"
    capabilities: ClassVar[frozenset[str]] = frozenset(
        {"unembedding", "value_vectors", "attention"}
    )
    reads_state: ClassVar[bool] = False
    model: Any

    def __init__(
        self,
        network: OpenVLA,
        release: Release,
        robot: Robot,
        checkpoint: str,
        *,
        horizon: int = 1,
    ) -> None:
        self.model = network.eval().requires_grad_(False)
        self.release, self.robot, self.cameras = release, robot, tuple(robot.cameras)
        self.bounds = self._bounds(checkpoint)
        self.info = AdapterInfo(
            name=self.name,
            checkpoint=checkpoint,
            checkpoint_hash=digest(network, *(b.tensors(n) for n, b in self.bounds.items())),
            pathways=self.pathways(),
            horizon=horizon,
            executed_steps=horizon,
            action=robot.action,
            state=dict(robot.state) if self.reads_state else {},
            cameras=dict(robot.cameras),
            notes={"unnorm_key": release.dataset, "center_crop": str(release.pictures.crop)},
        )

    @classmethod
    def from_pretrained(
        cls,
        checkpoint: str,
        *,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
        robot: Robot | str | None = None,
        tokenizer: str | None = None,
        revision: str | None = None,
        unnorm_key: str | None = None,
        center_crop: bool | None = None,
        cameras: Sequence[str] | None = None,
    ) -> Self:
        """Load a checkpoint in the hub's layout, every tensor of it or nothing.

        Args:
            checkpoint: a hub id, or a folder with `config.json`, the weights as safetensors,
                `preprocessor_config.json` and `tokenizer.json`.
            device: where it runs.
            dtype: of the weights.
            robot: what the numbers mean (see `vlascope_adapters.robots`); by default what the
                names of the checkpoint and its dataset say.
            tokenizer: a folder or hub id that has `tokenizer.json`, instead of the checkpoint.
            revision: branch, tag or commit on the hub.
            unnorm_key: the dataset whose statistics scale actions; by default the only one.
            center_crop: whether pictures are cropped to the middle, as after fine-tuning with
                image augmentation; by default for checkpoints with a `dataset_statistics.json`.
            cameras: what it looks at, by the benchmark's names; by default the robot's first
                camera.

        Raises:
            FileMissing: the checkpoint, one of its files or its tokenizer is not there.
            IncompatibleError: it is of another kind, has the statistics of several datasets, or
                nothing tells what its numbers mean.
            CorruptFile: a file is truncated, or tensors are missing, extra or of another shape.
        """
        folder, release, chosen = cls._opened(
            checkpoint, robot, tokenizer, revision, unnorm_key, center_crop, cameras
        )
        tensors = read_tensors(folder)
        network = OpenVLA.without_weights(release.architecture, device, dtype)
        load_exactly(network, tensors, checkpoint)
        return cls(network, release, chosen, checkpoint)

    @classmethod
    def tiny(cls, seed: int = 0) -> Self:
        """Three blocks a tower and three layers of Llama, 28 to 48 wide, with random weights."""
        return cls.tiny_for(ROBOT, seed)

    @classmethod
    def tiny_for(cls, robot: Robot, seed: int = 0) -> Self:
        """The same for another robot, with as many numbers as it has."""
        release = tiny_release(robot, seed)
        network = with_reactive_weights(partial(OpenVLA, release.architecture), seed)
        return cls(network, release, cls._looking_at(robot, None), f"tiny-{seed}")

    def pathways(self) -> tuple[Pathway, ...]:
        """Both towers, once a camera; vlm, once a token that is said."""
        images = tuple(f"image.{camera}" for camera in self.cameras)
        llama = self.model.language_model.config
        streams = ("instruction", *(("state",) if self.reads_state else ()), "action")
        inner = "block.mlp" if self.model.film else "mlp"
        return (
            *(
                Pathway(
                    name, len(tower.blocks), tower.embed_dim, len(images), images,
                    tower.blocks[0].get_submodule(inner).fc1.out_features,
                )
                for name, tower in zip(
                    ("vision", "vision_fused"), self.model.vision_backbone.towers.values(),
                    strict=True,
                )
            ),
            Pathway(
                "vlm", llama.num_hidden_layers, llama.hidden_size, self._vlm_calls(),
                (*images, *streams), llama.intermediate_size,
            ),
        )  # fmt: skip

    def hook_points(self) -> Mapping[HookPoint, Tap]:
        """Six sites of every block, the projector, the last norm and the vocabulary's scores."""
        return {**points.block_taps(self._layers()), **points.BACKBONE, **points.ACTION_HEADS}

    def attention_points(self) -> Mapping[HookPoint, Tap]:
        """Attention of every block; in later calls of vlm the keys of all earlier ones too."""
        return points.attention_taps(self._layers())

    def dead_points(self) -> frozenset[HookPoint]:
        """The last block of each tower: features are taken from the one before."""
        layers = self._layers()
        return frozenset(
            point
            for point in self.hook_points()
            if point.pathway.startswith("vision") and point.layer == layers[point.pathway] - 1
        )

    def predict_chunk(
        self, observations: Sequence[Observation], *, generators: Sequence[torch.Generator]
    ) -> ActionChunk:
        """One action, the likeliest; the generators are not needed."""
        ids = self.model.generate(
            self.pictures(observations), self.words(observations), self.robot.action.dim
        )
        architecture = self.release.architecture
        scaled = detokenised(ids, architecture.first_free_id, architecture.n_action_bins)
        return ActionChunk(self._decoded(scaled[:, None]).cpu().numpy())

    def token_spans(
        self, observations: Sequence[Observation], *, call: int = 0
    ) -> Mapping[str, tuple[TokenSpans, ...]]:
        """Of the prompt in vlm's first call, of the said token later; towers see one camera."""
        rows = len(observations)
        one = same_for(rows, {"action": 1})
        vlm = one if call else self._prompt_spans(observations, {})
        return {**self._vision_spans(rows, call), "vlm": vlm, "vlm.action_head": one}

    def unembedding(self) -> tuple[Tensor, Sequence[str]]:
        """The output embedding, (vocabulary, width), and its tokens.

        Words that action tokens took the place of are named after the action, `<action +0.004>`.
        """
        architecture, tokenizer = self.release.architecture, self.release.prompter.tokenizer
        matrix = self.model.language_model.lm_head.weight.detach()
        names = [tokenizer.id_to_token(i) or f"<unused {i}>" for i in range(len(matrix))]
        n_bins, end = architecture.n_action_bins, architecture.first_free_id
        values = bin_centres(n_bins).flip(0)
        said = [f"<action {value:+.3f}>" for value in (values[0], *values)]
        names[end - n_bins : end] = said
        return matrix, names

    def value_vectors(self, layer: int) -> Tensor:
        """What each neuron of a vlm layer writes to the stream, (neurons, width)."""
        return self.model.language_model.model.layers[layer].mlp.down_proj.weight.detach().T

    def pictures(self, observations: Sequence[Observation]) -> list[Tensor]:
        """What the towers look at: (batch, 6, size, size) for each camera.

        Raises:
            ValueError: a picture is missing or of another size.
        """
        like = self.model.projector.fc1.weight
        prepared = self.release.pictures
        return [
            torch.stack([prepared(self.robot.picture(o, camera)) for o in observations]).to(like)
            for camera in self.cameras
        ]

    def words(self, observations: Sequence[Observation]) -> list[Tensor]:
        """Each row's prompt as token ids."""
        device = self.model.projector.fc1.weight.device
        prompts = (self.release.prompter(o.instruction) for o in observations)
        return [torch.tensor(prompt.ids, device=device) for prompt in prompts]

    @classmethod
    def _opened(
        cls,
        checkpoint: str,
        robot: Robot | str | None,
        tokenizer: str | None,
        revision: str | None,
        unnorm_key: str | None,
        center_crop: bool | None,
        cameras: Sequence[str] | None,
    ) -> tuple[Path, Release, Robot]:
        """A checkpoint's folder, what it holds beside weights, and the robot it is for."""
        folder = fetch(checkpoint, FILES, revision=revision)
        cls._check_kind(folder, checkpoint)
        release = read_release(
            folder,
            checkpoint,
            unnorm_key=unnorm_key,
            center_crop=center_crop,
            tokenizer=None if tokenizer is None else fetch(tokenizer, ("tokenizer.json",)),
        )
        hints = (checkpoint.rstrip("/").rsplit("/", 1)[-1], release.dataset)
        return folder, release, cls._looking_at(robot_for(robot, hints), cameras)

    @classmethod
    def _check_kind(cls, folder: Path, checkpoint: str) -> None:
        """Refuse an OFT checkpoint, whose language model does not say action tokens."""
        if has_component(folder, "action_head"):
            raise IncompatibleError(
                f"{checkpoint} has an action_head--STEPS_checkpoint.pt, so it is an OpenVLA-OFT: "
                "use the adapter 'openvla_oft'"
            )

    @classmethod
    def _looking_at(cls, robot: Robot, cameras: Sequence[str] | None) -> Robot:
        """The robot with the cameras that the policy uses, in that order."""
        wanted = tuple(robot.cameras)[:1] if cameras is None else tuple(cameras)
        if len(wanted) != 1:
            raise IncompatibleError(f"OpenVLA looks at one camera, not at {list(wanted)}")
        return looking_at(robot, wanted)

    def _bounds(self, checkpoint: str) -> dict[str, Bounds]:
        """The ranges of what goes in and out, as long as the robot's."""
        found = {"action": self._range("action")}
        lengths = {"action": self.robot.action.dim, "proprio": self.robot.state_dim}
        if self.reads_state:
            found["proprio"] = self._range("proprio")
        for name, bounds in found.items():
            if bounds.dim != lengths[name]:
                raise IncompatibleError(
                    f"{name} of {checkpoint} has {bounds.dim} numbers and that of robot "
                    f"{self.robot.name!r} has {lengths[name]}: choose another robot="
                )
        return found

    def _range(self, name: str) -> Bounds:
        """What -1 to 1 stands for, of `action` or `proprio`."""
        return Bounds.of(self.release.statistics_of(name))

    def _decoded(self, scaled: Tensor) -> Tensor:
        """In the robot's units, float32."""
        bounds = self.bounds["action"]
        return gripper_commands(bounds.unscaled(scaled), bounds, self.robot.action).float()

    def _vlm_calls(self) -> int:
        return self.robot.action.dim

    def _layers(self) -> dict[str, int]:
        return {pathway.name: pathway.n_layers for pathway in self.info.pathways}

    def _vision_spans(self, rows: int, call: int) -> dict[str, tuple[TokenSpans, ...]]:
        """Towers see one camera a call."""
        stream = f"image.{self.cameras[call % len(self.cameras)]}"
        return vision_spans(rows, self.model.vision_backbone, stream)

    def _prompt_spans(
        self, observations: Sequence[Observation], after: Mapping[str, int]
    ) -> tuple[TokenSpans, ...]:
        """The language model sees every camera, the state and the prompt, and what is `after`."""
        patches = self.model.vision_backbone.n_patches
        images = {f"image.{camera}": patches for camera in self.cameras}
        prompts = [self.release.prompter(o.instruction) for o in observations]
        return prompt_spans(prompts, {**images, "state": int(self.reads_state)}, after)


def at_real_size() -> OpenVLA:
    """`openvla/openvla-7b` without its weights, on the meta device."""
    with torch.device("meta"):
        return OpenVLA(Architecture())


def looking_at(robot: Robot, cameras: Sequence[str]) -> Robot:
    """The robot with these cameras alone, in this order.

    Raises:
        UnknownName: it has no camera of that name.
    """
    for camera in cameras:
        if camera not in robot.cameras:
            raise unknown_name(f"camera of robot {robot.name!r}", camera, robot.cameras)
    return replace(robot, cameras={camera: robot.cameras[camera] for camera in cameras})
