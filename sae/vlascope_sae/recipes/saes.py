"""Autoencoders: what do they keep of a pathway, and does the policy still act and succeed?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final

from pydantic import Field

from vlascope.errors import StudyFileError
from vlascope.sections import Section
from vlascope.study.from_analysis import FROM_ANALYSIS
from vlascope.study.recipe import Parts, Reading, Recipe, Scope
from vlascope.study.schema import Arm, Controls, Finding
from vlascope_sae.recipes.analysis import SAETraining, splice_key
from vlascope_sae.recipes.hooked import arm_of
from vlascope_sae.recipes.options import FEWEST_EPISODES, SAEOptions

if TYPE_CHECKING:
    from vlascope.hooks import Pathway
    from vlascope.study.quantity import Quantity

__all__ = ["SAEs"]

_READ: Final = frozenset({"instruction", "action"})
"""Streams that make a pathway worth an autoencoder where nothing else was asked for."""


class SAEs(SAEOptions, Recipe):
    """Train on the baseline's activations, splice the reconstruction in, look at the features.

    Autoencoders are of one size and sparsity relative to the width of what they read, at one
    relative depth, so that policies of different shape can be set beside each other. Those that
    learned from single tokens and from pooled ones are spliced in alike, token by token.

    Attributes:
        random_direction: play, for each splice, an error of equal norm in a random direction.
        seeds: how many of the study's seeds the splices are played with; None for all.
        alpha: level of the claims, after Holm's adjustment over the splices.
    """

    kind: ClassVar[str] = "saes"
    title: ClassVar[str] = "What do sparse autoencoders keep, and does the policy still act on it?"

    random_direction: bool = True
    seeds: Annotated[int, Field(ge=1)] | None = None
    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.05

    @classmethod
    def suggested(cls, pathways: Sequence[Pathway]) -> dict[str, Any]:
        """Every pathway through which words or actions run, half way down."""
        chosen = [p.name for p in pathways if _READ & set(p.mixes)]
        return {"at": {"pathways": chosen or [pathways[-1].name], "depth": "mid"}}

    def parts(self, name: str, scope: Scope) -> Parts:
        """One analysis of the baseline, and an arm for every splice."""
        if len(scope.tasks) * len(scope.seeds) < FEWEST_EPISODES:
            raise StudyFileError(
                f"autoencoders need {FEWEST_EPISODES} episodes or more, some of which are held "
                f"out; {len(scope.tasks)} tasks and {len(scope.seeds)} seeds make "
                f"{len(scope.tasks) * len(scope.seeds)}: add tasks or seeds"
            )
        training = f"{name}_training"
        arms = {
            arm_of(name, pathway, per): Arm(
                about=f"{pathway} by its reconstruction ({per})",
                interventions=(
                    {
                        "kind": FROM_ANALYSIS,
                        "analysis": training,
                        "key": splice_key(pathway, per),
                    },
                ),
                controls=self._controls(),
                seeds=scope.seeds[: self.seeds] if self.seeds else None,
            )
            for pathway in self.at.pathways
            for per in self.per
        }
        options = self.model_dump(mode="json", include=set(SAEOptions.model_fields))
        analysis = {"kind": SAETraining.kind, "arms": [scope.baseline], **options}
        question = "Does the policy succeed with the reconstruction in place?"
        finding = Finding(
            question=question, metric="success", arms=tuple(arms), against=(scope.baseline,)
        )
        return Parts(
            arms=arms, findings={f"{name}_success": finding}, analyses={training: analysis}
        )

    def section(self, reading: Reading) -> Section:
        """Reconstruction, plans, hooked success, and kinds of features."""
        from vlascope_sae.recipes.section import saes_section

        return saes_section(self, reading)

    def quantities(self, reading: Reading) -> tuple[Quantity, ...]:
        """Every number of the chapter, by pathway and kind."""
        from vlascope_sae.recipes.quantities import saes_quantities

        return saes_quantities(self, reading)

    def _controls(self) -> Controls:
        if self.random_direction:
            return Controls(identity="auto", random_direction="auto")
        return Controls(identity="auto", waived="no error of equal norm was asked for")
