"""One autoencoder being trained: its optimiser, its silent latents, its best weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vlascope.errors import UnusableActivations
from vlascope_sae.autoencoder import SparseAutoencoder, Step
from vlascope_sae.sparsity import PenalisedSAE
from vlascope_sae.training.group import Group
from vlascope_sae.training.source import Batch
from vlascope_sae.training.spec import TrainingSpec

__all__ = ["Trainee"]


class Trainee:
    """Steps one autoencoder. No step asks the device for a number on the host.

    Attributes:
        name: unique among those trained together.
        stopped: whether it has stopped early.
        best: the lowest validation FVU so far.
        silent: (d_sae,) samples since each latent fired last.
    """

    def __init__(self, name: str, sae: SparseAutoencoder, spec: TrainingSpec, group: Group) -> None:
        self.name, self.sae, self.spec = name, sae, spec.settled(sae.config.d_sae)
        self.stopped = False
        self.best = float("inf")
        device = sae.W_dec.device
        self.silent = torch.zeros(sae.config.d_sae, dtype=torch.int64, device=device)
        self._group = group
        self._parameters = [p for p in sae.parameters() if p.requires_grad]
        self._optimiser = torch.optim.Adam(
            self._parameters,
            lr=self.spec.rate(spec.warmup),
            betas=spec.betas,
            eps=spec.eps,
            fused=True,
        )
        self._worse = 0
        self._samples, self._some_dead = 0, False
        self._kept: dict[str, Tensor] | None = None
        self._sums: dict[str, Tensor] = {}
        self._steps = 0

    def step(self, batch: Batch, *, whole: int, progress: float) -> None:
        """Learn from a batch.

        Args:
            batch: this process's rows.
            whole: how many rows all processes have together.
            progress: share of the training done.
        """
        spec, sae = self.spec, self.sae
        for settings in self._optimiser.param_groups:
            settings["lr"] = spec.rate(progress)
        self._optimiser.zero_grad(set_to_none=True)
        dead = self._dead(whole)
        done = sae.step(batch.x, batch.target, dead=dead, progress=progress)
        torch.autograd.backward(done.loss)
        self._group.average_gradients(self._parameters, len(batch.x) / whole)
        sae.before_optimizer_step()
        if spec.clip is not None:
            torch.nn.utils.clip_grad_norm_(self._parameters, spec.clip)
        self._optimiser.step()
        sae.after_optimizer_step()
        if isinstance(sae, PenalisedSAE) and sae.penalty.target_l0 is not None:
            l0 = self._group.mean(done.l0.detach(), len(batch.x) / whole)
            sae.steer(l0, progress, spec.steps)
        self.silent.add_(whole).masked_fill_(self._group.any(done.fired), 0)
        self._note(done)

    def _dead(self, whole: int) -> Tensor | None:
        """Which latents are dead; None where there are none, which saves work.

        A GPU is asked whether there are any only ten times in `dead_after` samples.
        """
        window = self.sae.config.dead_after
        before, self._samples = self._samples, self._samples + whole
        if before < window:
            return None
        dead = self.silent >= window
        every = max(window // 10, 1)
        if dead.device.type == "cpu" or before // every != (before - whole) // every:
            self._some_dead = bool(dead.any())
        return dead if self._some_dead else None

    def _note(self, done: Step) -> None:
        found = {"loss": done.loss.detach(), "l0": done.l0, **done.parts}
        for name, value in found.items():
            value = value.detach().float()
            self._sums[name] = self._sums[name] + value if name in self._sums else value
        self._steps += 1

    def means(self) -> dict[str, float]:
        """What was measured since the last call, averaged over steps; waits for the device.

        Raises:
            UnusableActivations: the loss is no longer finite.
        """
        if not self._steps:
            return {}
        names = list(self._sums)
        values = (torch.stack([self._sums[n] for n in names]) / self._steps).tolist()
        found = dict(zip(names, values, strict=True))
        self._sums, self._steps = {}, 0
        if found["loss"] != found["loss"] or abs(found["loss"]) == float("inf"):
            raise UnusableActivations(
                f"{self.name}: the loss is {found['loss']}; try a lower learning rate than "
                f"{self.spec.lr}, normalise='zscore', or a tighter limit for outliers"
            )
        found["dead"] = float((self.silent >= self.sae.config.dead_after).float().mean())
        return found

    def judge(self, fvu: float) -> None:
        """Take note of a validation; stop where there was no progress for too long."""
        if fvu < self.best - self.spec.min_delta:
            self.best, self._worse = fvu, 0
            if self.spec.patience is not None:
                self._kept = {n: t.detach().clone() for n, t in self.sae.state_dict().items()}
            return
        self._worse += 1
        if self.spec.patience is not None and self._worse >= self.spec.patience:
            self.finish()
            self.stopped = True

    def finish(self) -> None:
        """Go back to the best weights, where those were kept."""
        if self._kept is not None:
            self.sae.load_state_dict(self._kept)

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on as if nothing had happened."""
        return {
            "sae": self.sae.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "silent": self.silent,
            "stopped": self.stopped,
            "best": self.best,
            "worse": self._worse,
            "kept": self._kept,
            "sums": self._sums,
            "steps": self._steps,
            "samples": self._samples,
            "some_dead": self._some_dead,
            "pressure": getattr(self.sae, "pressure", None),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self.sae.load_state_dict(state["sae"])
        self._optimiser.load_state_dict(state["optimiser"])
        self.silent.copy_(state["silent"])
        self.stopped, self.best = state["stopped"], state["best"]
        self._worse, self._kept = state["worse"], state["kept"]
        self._sums, self._steps = state["sums"], state["steps"]
        self._samples, self._some_dead = state["samples"], state["some_dead"]
        if isinstance(self.sae, PenalisedSAE):
            self.sae.pressure.copy_(state["pressure"])
