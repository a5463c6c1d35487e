"""What is known of each autoencoder before it is spliced in while the robot acts."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from vlascope.statistics import Estimate
from vlascope_sae.recipes.options import Per

__all__ = ["Absent", "ActionError", "Found", "General", "Judged", "Outcome"]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ActionError(_Record):
    """How far plans move when the reconstruction is in place; held-out episodes are the unit.

    Attributes:
        splice, random, mean: root mean square change of the chunk, each action dimension in units
            of half its declared range: by the splice, by an error of equal norm in a random
            direction, and by the mean activation, which takes all information away.
        fidelity: 1 - splice / mean: 1 for the same plans, 0 for those without information.
        against_random: splice minus random, by episode.
        by_episode: the splice's change by episode.
        situations: how many chunks were planned.
        dx_ratio: mean ||dx|| / ||x|| of the splice, from its receipt.
    """

    splice: Estimate
    random: Estimate
    mean: Estimate
    fidelity: Estimate
    against_random: Estimate
    by_episode: dict[str, float]
    situations: int
    dx_ratio: float | None


class General(_Record):
    """General against memorised features, by a published classifier.

    Attributes:
        fit: whose coefficients.
        share: of features that fired which are general; n counts features.
        alive, general, dead: features.
        never_on: fired, but never above the classifier's threshold.
        rate_general, rate_memorised: median firing rates; None for an empty class.
        rate_auc: how well the firing rate alone separates the classes.
        tasks: features by the number of tasks they fired in, `tasks[i]` in i + 1.
        episodes: how many were read.
    """

    fit: str
    share: Estimate
    alive: int
    general: int
    dead: int
    never_on: int
    rate_general: float | None
    rate_memorised: float | None
    rate_auc: float | None
    tasks: tuple[int, ...]
    episodes: int


class Judged(_Record):
    """One autoencoder on held-out episodes.

    Attributes:
        at: the layer's relative depth, 0 the first and 1 the last.
        folder: where it lies.
        fvu, l0: on the rows of held-out episodes of the kind it learned from.
        spliced_fvu: on single tokens of held-out episodes, which is what the splice does.
        silent: share of latents that fired in no held-out row; n counts latents.
        action_missing: why there is no `action`.
        asked_l0: which of the further sparsities, a share of the width; None for the one played.
    """

    pathway: str
    per: Per
    point: str
    at: float
    folder: str
    d_in: int
    d_sae: int
    k: int
    fvu: Estimate
    spliced_fvu: Estimate
    l0: Estimate
    silent: Estimate
    action: ActionError | None = None
    action_missing: str = ""
    asked_l0: float | None = None


class Found(Judged):
    """An autoencoder that is played as well; its feature index lies in `features`.

    Attributes:
        trained, held_out: episodes.
        read_per_layer: other layers of the pathway are read too, which the splice leaves alone.
    """

    training_rows: int
    trained: int
    held_out: int
    general: General
    read_per_layer: bool = False


class Absent(_Record):
    """A pathway without autoencoders, and why."""

    pathway: str
    why: str


class Outcome(_Record):
    """Everything that an analysis found.

    Attributes:
        found: the autoencoders that are played.
        others: those of other sparsities.
    """

    found: tuple[Found, ...] = Field(default=())
    others: tuple[Judged, ...] = Field(default=())
    absent: tuple[Absent, ...] = Field(default=())

    def of(self, pathway: str, per: Per) -> Found | None:
        """One of them."""
        return next((f for f in self.found if (f.pathway, f.per) == (pathway, per)), None)
