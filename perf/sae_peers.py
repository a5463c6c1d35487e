"""Other libraries' own training loops over one tensor in memory, for `sae_step.py` and recovery.

None of them is a dependency: install those to be measured into the environment that runs it
(sae-lens 6.54, dictionary-learning 0.1.0, eai-sparsify 1.3.3, overcomplete 0.3.0). Each function
trains a TopK autoencoder on `batches` and returns what came of it. With `shape.warmup` the rate
rises over so many steps and then falls linearly to zero, a schedule that all of them have; with
`shape.dead_after` every library that counts silent latents counts so many samples.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from typing import NamedTuple

import torch


@dataclass(frozen=True)
class Shape:
    """What every contestant trains, and for how long.

    Attributes:
        d, f, k: width, latents, and how many of them fire.
        batch, steps: samples per step, and steps.
        device: where.
        warmup: steps in which the rate rises, before it falls linearly to zero; None: constant.
        dead_after: samples without firing after which a latent is dead; None for each one's own.
    """

    d: int
    f: int
    k: int
    batch: int
    steps: int
    device: torch.device
    warmup: int | None = None
    dead_after: int | None = None


class Trained(NamedTuple):
    """What a contestant ends with: its reconstruction of rows, and its directions (f, d)."""

    reconstruct: object
    directions: torch.Tensor


def sae_lens(batches, shape, lr):
    from sae_lens import LoggingConfig, TopKTrainingSAE, TopKTrainingSAEConfig
    from sae_lens.config import SAETrainerConfig
    from sae_lens.training.sae_trainer import SAETrainer

    sae = TopKTrainingSAE(TopKTrainingSAEConfig(d_in=shape.d, d_sae=shape.f, k=shape.k))
    trainer = SAETrainer(
        cfg=SAETrainerConfig(
            total_training_samples=shape.batch * shape.steps,
            train_batch_size_samples=shape.batch,
            lr=lr,
            lr_end=lr,
            device=str(shape.device),
            logger=LoggingConfig(log_to_wandb=False),
            n_checkpoints=0,
            checkpoint_path=None,
            save_final_checkpoint=False,
            autocast=False,
            dead_feature_window=shape.dead_after // shape.batch if shape.dead_after else 1000,
            feature_sampling_window=2000,
            lr_scheduler_name="constant",
            lr_warm_up_steps=shape.warmup or 0,
            lr_decay_steps=0 if shape.warmup is None else shape.steps - shape.warmup,
            n_restart_cycles=1,
            adam_beta1=0.9,
            adam_beta2=0.999,
        ),
        sae=sae.to(shape.device),
        data_provider=iter(batches),
    )
    trained = trainer.fit()
    return Trained(trained.forward, trained.W_dec)


def dictionary_learning(batches, shape, lr):
    from dictionary_learning.trainers.top_k import AutoEncoderTopK, TopKTrainer
    from dictionary_learning.training import trainSAE

    class Trainer(TopKTrainer):
        def __init__(self, **settings):
            super().__init__(**settings)
            self.dead_feature_threshold = shape.dead_after or self.dead_feature_threshold

    with tempfile.TemporaryDirectory() as folder:
        trainSAE(
            iter(batches),
            [
                {
                    "trainer": Trainer,
                    "dict_class": AutoEncoderTopK,
                    "activation_dim": shape.d,
                    "dict_size": shape.f,
                    "k": shape.k,
                    "steps": shape.steps,
                    "lr": lr,
                    "warmup_steps": shape.warmup or 0,
                    "decay_start": None if shape.warmup is None else shape.warmup + 1,
                    "layer": 0,
                    "lm_name": "memory",
                    "device": str(shape.device),
                }
            ],
            shape.steps,
            save_dir=folder,
            device=str(shape.device),
        )
        trained = AutoEncoderTopK.from_pretrained(
            f"{folder}/trainer_0/ae.pt", k=shape.k, device=str(shape.device)
        )
    return Trained(trained.forward, trained.decoder.weight.T)


def sparsify(batches, shape, lr):
    if shape.device.type == "cpu":
        os.environ["SPARSIFY_DISABLE_TRITON"] = "1"
    from sparsify import SparseCoderConfig, TrainConfig, Trainer
    from torch.utils.data import Dataset
    from transformers import PretrainedConfig, PreTrainedModel

    source = iter(batches)

    class Memory(PreTrainedModel):
        """A model whose hidden state is the batch that was asked for."""

        config_class = PretrainedConfig

        def __init__(self):
            super().__init__(PretrainedConfig(hidden_size=shape.d, num_hidden_layers=1))
            self.embed = torch.nn.Embedding(shape.batch, shape.d)
            self.to(shape.device)
            self.filled = None

        @property
        def dummy_inputs(self):
            return {"input_ids": torch.zeros(1, 8, dtype=torch.long, device=shape.device)}

        def forward(self, input_ids, **_):
            return self.embed(input_ids)

    model = Memory()
    tokens = shape.batch // 8

    class Rows(Dataset):
        """Eight sequences a batch; the first of them asks for the next batch."""

        def __len__(self):
            return 8 * shape.steps

        def __getitem__(self, item):
            if item % 8 == 0:
                model.embed.weight.data.copy_(next(source))
            first = item % 8 * tokens
            return {"input_ids": torch.arange(first, first + tokens)}

    dead = {"dead_feature_threshold": shape.dead_after, "auxk_alpha": 1 / 32}
    with tempfile.TemporaryDirectory() as folder:
        config = TrainConfig(
            SparseCoderConfig(num_latents=shape.f, k=shape.k),
            batch_size=8,
            hookpoints=["embed"],
            lr=lr,
            lr_warmup_steps=1 if shape.warmup is None else shape.warmup,
            optimizer="adam",
            **({} if shape.dead_after is None else dead),
            log_to_wandb=False,
            save_dir=folder,
            save_every=10**9,
        )
        trainer = Trainer(config, Rows(), model)
        trainer.fit()
    trained = trainer.saes["embed"]
    return Trained(lambda x: trained(x).sae_out, trained.W_dec)


def overcomplete(batches, shape, lr):
    import matplotlib.cm

    if not hasattr(matplotlib.cm, "get_cmap"):  # removed from matplotlib 3.9
        from matplotlib import colormaps

        matplotlib.cm.get_cmap = colormaps.get_cmap
    from overcomplete.sae import TopKSAE, train_sae

    sae = TopKSAE(shape.d, nb_concepts=shape.f, top_k=shape.k, device=str(shape.device))

    def criterion(x, x_hat, *_):
        return (x - x_hat).square().mean()

    optimiser = torch.optim.Adam(sae.parameters(), lr=lr)
    train_sae(
        sae,
        batches,
        criterion,
        optimiser,
        scheduler=None if shape.warmup is None else falling(optimiser, shape),
        nb_epochs=1,
        monitoring=0,
        device=str(shape.device),
    )
    sae.eval()
    return Trained(lambda x: sae(x)[2], sae.get_dictionary())


def falling(optimiser, shape):
    """The schedule with `shape.warmup` for a loop that takes any."""

    def share(step):
        if step < shape.warmup:
            return (step + 1) / shape.warmup
        return (shape.steps - step) / (shape.steps - shape.warmup)

    return torch.optim.lr_scheduler.LambdaLR(optimiser, share)


RECOMMENDED = {
    "sae_lens": lambda _: 3e-4,  # LanguageModelSAERunnerConfig.lr
    "dictionary_learning": lambda f: 2e-4 / (f / 2**14) ** 0.5,  # TopKTrainer, lr=None
    "sparsify": lambda f: 2e-4 / (f / 2**14) ** 0.5,  # Trainer, optimizer="adam", lr=None
    "overcomplete": lambda _: 5e-4,  # the example of its README
}
"""The rate each library chooses or shows for so many latents, where one says nothing."""

PEERS = {
    "sae_lens": sae_lens,
    "dictionary_learning": dictionary_learning,
    "sparsify": sparsify,
    "overcomplete": overcomplete,
}


def installed():
    """The peers that this environment has."""
    return {name: train for name, train in PEERS.items() if find_spec(name)}
