"""A third party's analysis and recipe: does removing the mean goal of the vlm lose the way?"""

from typing import ClassVar

import torch
from safetensors.torch import save_file

from vlascope.errors import StudyFileError, UnusableActivations
from vlascope.hookspecs import hookimpl
from vlascope.sections import Cell, Prose, Section, Table
from vlascope.statistics import rate
from vlascope.study.analysis import Analysis, AnalysisResult
from vlascope.study.recipe import Parts, Recipe
from vlascope.study.schema import Arm, Controls, Finding

RUNS = []


@hookimpl
def register_analyses(register):
    register("mean_direction", "trick_recipes:MeanDirection", summary="a point's mean")


@hookimpl
def register_recipes(register):
    register("mean_removed", "trick_recipes:MeanRemoved", summary="project the mean out")


class MeanDirection(Analysis):
    kind: ClassVar[str] = "mean_direction"
    at: str
    fail: bool = False

    def recordings(self):
        return dict.fromkeys(self.arms, (self.at,))

    def run(self, context):
        RUNS.append(context.policy)
        if self.fail:
            raise UnusableActivations("told to fail")
        rows = context.store().read(self.at, context.where(self.arms[0]))
        path = context.folder / "mean.safetensors"
        save_file({"mean": rows.values.float().mean(0)}, path)
        edit = {"kind": "project_out", "at": self.at, "directions": f"{path}#mean"}
        return AnalysisResult(
            edits={"remove": (edit,)},
            sentences=(f"a mean over {len(rows)} rows",),
            data={"norm": float(torch.linalg.norm(rows.values.float().mean(0)))},
        )


class MeanRemoved(Recipe):
    kind: ClassVar[str] = "mean_removed"
    title: ClassVar[str] = "Without the mean"
    at: str = "expert.1.mlp_out"
    key: str = "remove"
    tasks: tuple[str, ...] | None = None
    fail: bool = False

    def parts(self, name, scope):
        if len(scope.tasks) < 2:
            raise StudyFileError("mean_removed needs two tasks")
        found = f"{name}_mean"
        edit = {"kind": "from_analysis", "analysis": found, "key": self.key}
        controls = Controls(identity="auto", random_direction="auto")
        arm = Arm(about="mean removed", interventions=(edit,), controls=controls, tasks=self.tasks)
        finding = Finding(question="Needed?", metric="success", arms=(f"{name}_removed",))
        return Parts(
            arms={f"{name}_removed": arm},
            findings={f"{name}_needed": finding},
            analyses={
                found: {
                    "kind": "mean_direction",
                    "arms": (scope.baseline,),
                    "at": self.at,
                    "fail": self.fail,
                }
            },
        )

    def section(self, reading):
        values = reading.measuring.values(reading.policy, f"{reading.name}_removed", "success")
        row = ("removed", Cell(estimate=rate(list(values.values()))))
        return Section(
            name=reading.name,
            title=self.title,
            policy=reading.policy,
            sentences=("what was `found`",),
            blocks=(Prose(text="in words"), Table(columns=("arm", "success"), rows=(row,))),
        )
