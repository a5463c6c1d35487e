"""What a study file may say."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    model_validator,
)

from vlascope.counterfactuals import Variant
from vlascope.study.choices import (
    BenchmarkChoice,
    ExecutorChoice,
    PolicyChoice,
    Strict,
    one_or_many,
)
from vlascope.study.seeds import Seeds

__all__ = [
    "Arm",
    "BenchmarkChoice",
    "Controls",
    "ExecutorChoice",
    "Finding",
    "PolicyChoice",
    "Prompt",
    "ReportOptions",
    "SourceChoice",
    "Stop",
    "Strict",
    "Study",
]

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
Patterns = tuple[str, ...]


class Prompt(Strict):
    """A prompt that depends on the task; exactly one of the first four fields is set.

    Attributes:
        task: a pairing; the policy is told the paired task's instruction.
        paraphrase: the k-th (from 1) other way to say the task's own instruction.
        variant: a kind of counterfactual instruction, made from the task's metadata.
        template: words around the task's own instruction, such as `slowly {instruction}`.
        seed: of the choices a variant makes.
        from_step: with `task`, the step from which the policy is told so (by the first chunk that
            begins then or later); before, it is told its own task's instruction.
    """

    task: str | None = None
    paraphrase: Annotated[int, Field(ge=1)] | None = None
    variant: Variant | None = None
    template: str | None = None
    seed: Annotated[int, Field(ge=0)] = 0
    from_step: Annotated[int, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _one(self) -> Prompt:
        if self.from_step is not None and self.task is None:
            raise ValueError("`from_step` needs `task: PAIRING`, the task that is told of then")
        given = (self.task, self.paraphrase, self.variant, self.template)
        if sum(value is not None for value in given) != 1:
            raise ValueError(
                "give one of `task: PAIRING`, `paraphrase: K`, `variant: KIND` and `template: TEXT`"
            )
        if self.template is not None and "{instruction}" not in self.template:
            raise ValueError("a `template` holds `{instruction}`, the task's own instruction")
        return self


class SourceChoice(Strict):
    """Where injected activations come from.

    Attributes:
        arm: whose episodes are recorded (again, to full length, as arm `ARM.source`).
        task: `same`, a pairing's name, or `{fixed: TASK}`.
        seed: `same`, or `other`: the next seed of the study, the last one taking the first.
    """

    arm: str
    task: str | dict[Literal["fixed"], str] = "same"
    seed: Literal["same", "other"] = "same"


class Controls(Strict):
    """The arms that show what an edit would do if it meant nothing.

    The first four may be `auto`: an arm is made from this one's edits (`Intervention.control`).

    Attributes:
        identity: the same points hooked, nothing changed.
        random_direction: equal norm, random direction.
        matched: the same edit of something comparable: features that fire as often, as many
            other neurons.
        random_subspace: the same edit within a random subspace of equal dimension.
        no_injection: the same prompt, no edit.
        cross_prompt: no edit, the source task's prompt.
        prompting: no edit, a prompt that asks for what the edit should bring about.
        waived: why there are none; the report prints it.
    """

    identity: str | None = None
    random_direction: str | None = None
    matched: str | None = None
    random_subspace: str | None = None
    no_injection: str | None = None
    cross_prompt: str | None = None
    prompting: str | None = None
    waived: str | None = None

    @property
    def by_role(self) -> dict[str, str]:
        """Arm by role, in the order of the fields."""
        roles = [name for name in type(self).model_fields if name != "waived"]
        return {role: arm for role in roles if (arm := getattr(self, role)) is not None}


def _prompt_form(value: Any) -> str:
    return "text" if value is None or isinstance(value, str) else "mapping"


def _perturb_form(value: Any) -> str:
    return "text" if value is None or isinstance(value, str) else "list"


class Arm(Strict):
    """One condition; what it leaves out is as in a plain rollout.

    Attributes:
        about: what it is, in a line, for the report.
        prompt: a fixed text (`""` for none), or one that depends on the task.
        perturb: what is done to the pictures, `{kind: ..., ...}` as registered, or a list of such,
            in order; or the import string `package.module:name` of a function.
        interventions: edits, each `{kind: ..., at: ...}` as registered; `at` may name a depth
            third (`expert.early.resid_post`), and `source` is a `SourceChoice`.
        controls: which arms this one is judged beside; required where an edit is causal.
        record: hook points to keep of these episodes (what injections read is kept anyhow).
        tasks: a part of the study's tasks (patterns).
        seeds: a part of the study's seeds.
    """

    about: str = ""
    prompt: Annotated[
        Annotated[str | None, Tag("text")] | Annotated[Prompt, Tag("mapping")],
        Discriminator(_prompt_form),
    ] = None
    perturb: Annotated[
        Annotated[str | None, Tag("text")] | Annotated[tuple[dict[str, Any], ...], Tag("list")],
        Discriminator(_perturb_form),
        BeforeValidator(one_or_many),
    ] = None
    interventions: tuple[dict[str, Any], ...] = ()
    controls: Controls | None = None
    record: Patterns = ()
    tasks: Patterns | None = None
    seeds: Seeds | None = None


class Finding(Strict):
    """A question, and the numbers that answer it.

    Attributes:
        question: as a person would ask it.
        metric: what is measured (see `vlascope.study.metrics.METRICS`).
        arms: the arms asked about; with several, each is also set against the first.
        against: control arms; by default each arm's own controls, else the baseline.
        by: split by `task`, `scene` or the study's `groups`; groups are set against the first.
        tasks: only these tasks (patterns, or names of groups).
    """

    question: str
    metric: str
    arms: Annotated[tuple[str, ...], Field(min_length=1)]
    against: tuple[str, ...] | None = None
    by: Literal["task", "scene", "groups"] | None = None
    tasks: Patterns | None = None


class Stop(Strict):
    """When an arm may end early: its anytime-valid interval is narrow, or has left a value out.

    Attributes:
        metric: what is asked about.
        arms: globs of arms; `against` itself is always played to its end by this rule.
        against: the arm that is subtracted, on equal tasks and seeds; None for the arm's own rate.
        width: stop when the interval is no wider.
        leaves: stop when the interval leaves this value out; 0 for a difference, unless `width`
            is given.
        every: episodes between two looks at least, rounded up to whole seeds.
    """

    metric: Literal["success"] = "success"
    arms: Patterns = ("*",)
    against: str | None = None
    width: Annotated[float, Field(gt=0, le=2)] | None = None
    leaves: Annotated[float, Field(ge=-1, le=1)] | None = None
    every: Annotated[int, Field(ge=1)] = 10

    @model_validator(mode="after")
    def _some_rule(self) -> Stop:
        if self.against is None and self.width is None and self.leaves is None:
            raise ValueError(
                "say when the answer is clear: `width: W`, `leaves: RATE`, or `against: ARM` for a "
                "difference from another arm that leaves out 0"
            )
        return self

    @property
    def decides(self) -> float | None:
        """The value that an interval has to leave out; None where only its width counts."""
        if self.leaves is None and self.against is not None and self.width is None:
            return 0.0
        return self.leaves


class ReportOptions(Strict):
    """What the report shows beyond tables.

    Attributes:
        strips: `task/seed` pairs to film and show side by side over arms.
        strip_arms: the arms shown; all where left out.
        frames: pictures per film strip.
        view: `observation` shows what the policy saw, `frame` a larger picture.
        video: also write mp4 files of the filmed episodes.
        trajectories: `task/seed` pairs whose paths are drawn; by default those filmed.
        override_margin: cosine margin below which an override counts as ambiguous.
    """

    strips: tuple[str, ...] = ()
    strip_arms: tuple[str, ...] | None = None
    frames: Annotated[int, Field(ge=2, le=12)] = 6
    view: Literal["observation", "frame"] = "frame"
    video: bool = False
    trajectories: tuple[str, ...] | None = None
    override_margin: Annotated[float, Field(ge=0)] = 0.05


class Study(Strict):
    """Policies x tasks x seeds x arms, and the questions asked of them.

    Attributes:
        name: a short name.
        title, about: what the report is headed with.
        policies: by a name of your own.
        benchmark: what is played.
        tasks: names, globs (`multi/*`) or `suite:NAME`.
        seeds: a list, a number, or ranges such as `0-19`.
        max_steps: environment steps per episode; None for the benchmark's limit.
        batch: `batched` plays many episodes at once; `exact` one at a time, bit for bit.
        workers: processes that hold environments; `envs_per_worker` in each.
        executor: where episodes are played.
        baseline: the arm that others are paired with; by default the first.
        groups: task patterns by group name, for findings.
        pairings: source task by target task, by pairing name.
        arms: conditions by name, in the order they run; with recipes alone, the baseline is made.
        recipes: questions that come up again and again, `{kind: ...}` with options, by name; they
            add arms, analyses and findings, named after them.
        analyses: work between arms, `{kind: ..., arms: [...]}` with options, by name; arms use
            what it finds by `{kind: from_analysis, analysis: NAME, key: KEY}`.
        findings: questions by name.
        stop: when an arm may end early, one rule or several; the first that names an arm counts.
        report: what the report shows.
        expanded: whether the recipes' parts are among the rest already.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
    title: str = ""
    about: str = ""
    policies: Annotated[dict[Name, PolicyChoice], Field(min_length=1)]
    benchmark: BenchmarkChoice
    tasks: Annotated[Patterns, Field(min_length=1)]
    seeds: Seeds
    max_steps: Annotated[int, Field(ge=1)] | None = None
    batch: Literal["batched", "exact"] = "batched"
    workers: Annotated[int, Field(ge=1)] = 2
    envs_per_worker: Annotated[int, Field(ge=1)] = 2
    executor: ExecutorChoice = ExecutorChoice()
    baseline: str = ""
    groups: dict[Name, Patterns] = Field(default_factory=dict)
    pairings: dict[Name, dict[str, str]] = Field(default_factory=dict)
    arms: dict[Name, Arm] = Field(default_factory=dict)
    recipes: dict[Name, dict[str, Any]] = Field(default_factory=dict)
    analyses: dict[Name, dict[str, Any]] = Field(default_factory=dict)
    findings: dict[Name, Finding] = Field(default_factory=dict)
    stop: Annotated[tuple[Stop, ...], BeforeValidator(one_or_many)] = ()
    report: ReportOptions = ReportOptions()
    expanded: bool = False

    @model_validator(mode="after")
    def _something_to_do(self) -> Study:
        if not self.arms and not self.recipes:
            raise ValueError("a study needs `arms` or `recipes`")
        return self

    @property
    def baseline_arm(self) -> str:
        """The arm others are paired with."""
        return self.baseline or next(iter(self.arms))
