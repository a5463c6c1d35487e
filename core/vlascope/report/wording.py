"""Numbers as sentences; no rate without its n and interval."""

from __future__ import annotations

from collections.abc import Sequence

from vlascope.statistics import Comparison, Estimate
from vlascope.study.findings import Answer, ArmAnswer, Contrast, ControlAnswer
from vlascope.study.metrics import METRICS

__all__ = ["amount", "bare", "headline", "p_value", "spoken", "unresolved"]

_SPOKEN = {"m": "cm", "mm/step": "mm/step", "m/s": "m/s"}
"""Units as they are printed; shares and pure numbers have none."""
ROLES = {
    "identity": "identity",
    "random_direction": "random direction",
    "matched": "matched",
    "random_subspace": "random subspace",
    "no_injection": "no injection",
    "cross_prompt": "cross prompt",
}


def spoken(role: str) -> str:
    """A control's role as people say it."""
    return ROLES.get(role, role.replace("_", " "))


def amount(value: float | None, unit: str, *, signed: bool = False) -> str:
    """A value with the digits its unit deserves: `0.85`, `+0.12`, `3.4 cm`, `0.21 m/s`."""
    if value is None:
        return "not measured"
    return f"{bare(value, unit, signed=signed)} {_SPOKEN.get(unit, '')}".rstrip()


def bare(value: float, unit: str, *, signed: bool = False) -> str:
    """The same without its unit, for the lower end of an interval."""
    sign = "+" if signed else ""
    text = f"{100 * value:{sign}.1f}" if unit == "m" else f"{value:{sign}.2f}"
    return text.replace("-", "\u2212")


def interval(found: Estimate, unit: str, *, signed: bool = False) -> str:
    """`0.85 [0.64, 0.95], n = 20`."""
    if found.value is None:
        return f"not measured (n = 0, {found.missing} missing)"
    text = amount(found.value, unit, signed=signed)
    if found.low is not None and found.high is not None:
        low = bare(found.low, unit, signed=signed)
        text += f" [{low}, {amount(found.high, unit, signed=signed)}]"
    text += f", n = {found.n}"
    return text + (f" ({found.missing} missing)" if found.missing else "")


def p_value(p: float | None) -> str:
    """`p = 0.031`, `p < 0.001`."""
    if p is None:
        return "no p"
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def headline(answer: Answer, policies: Sequence[str]) -> tuple[str, ...]:
    """The answer in sentences, the shortest first."""
    metric = METRICS[answer.metric]
    whose = f"{answer.policy}: " if len(policies) > 1 else ""
    sentences = [f"{whose}{_about_arm(row, metric.label, metric.unit)}" for row in answer.arms]
    return (*sentences, *(_about_contrast(c, metric.unit) for c in answer.contrasts))


def unresolved(answers: Sequence[Answer]) -> tuple[str, ...]:
    """Every comparison whose interval includes zero, with what it could have shown."""
    found = []
    for answer in answers:
        metric = METRICS[answer.metric]
        for row in answer.arms:
            where = f" in {row.group}" if row.group else ""
            found += [
                f"{_capital(metric.label)}, `{row.arm}` against `{c.arm}`{where}: "
                f"{_limit(c.comparison, metric.unit)}."
                for c in row.controls
                if c.comparison.difference.n and not c.comparison.difference.resolved
            ]
        found += [
            f"{_capital(metric.label)}, {c.label}: {_contrast_limit(c, metric.unit)}."
            for c in answer.contrasts
            if c.difference.n and not c.difference.resolved
        ]
    return tuple(dict.fromkeys(found))


def _about_arm(row: ArmAnswer, label: str, unit: str) -> str:
    where = f" in {row.group}" if row.group else ""
    text = f"{_capital(label)} under `{row.arm}`{where}: {interval(row.value, unit)}"
    compared = [c for c in row.controls if c.comparison.difference.n]
    known = [c for c in compared if c.comparison.difference.resolved]
    higher = [c for c in known if (c.comparison.difference.value or 0) > 0]
    lower = [c for c in known if c not in higher]
    parts = [
        f"{word} {', '.join(_set_beside(c, unit) for c in group)}"
        for word, group in (("above", higher), ("below", lower))
        if group
    ]
    same = [c for c in compared if c not in known]
    if same:
        listed = ", ".join(f"{_named(c)} ({_limit(c.comparison, unit)})" for c in same)
        parts.append(f"not told apart from {listed}")
    return f"{text}; {'; '.join(parts)}." if parts else f"{text}."


def _set_beside(control: ControlAnswer, unit: str) -> str:
    found = control.comparison
    return f"{_named(control)} ({_short(found.difference, unit)}, {p_value(found.p)})"


def _named(control: ControlAnswer) -> str:
    own_name = control.role in (control.arm, "baseline")
    return f"`{control.arm}`" if own_name else f"its {spoken(control.role)} control"


def _short(found: Estimate, unit: str) -> str:
    """A difference with its interval, its n being beside it in the table."""
    return interval(found, unit, signed=True).partition(", n =")[0]


def _limit(comparison: Comparison, unit: str) -> str:
    text = _short(comparison.difference, unit)
    if comparison.detectable is None:
        return f"{text}; n = {comparison.difference.n} is too few to show any difference"
    if comparison.detectable == 0:
        return f"{text}; all {comparison.difference.n} pairs equal"
    smallest = amount(comparison.detectable, unit)
    return f"{text}; cannot resolve differences below {smallest} at n = {comparison.difference.n}"


def _about_contrast(contrast: Contrast, unit: str) -> str:
    label = _capital(contrast.label)
    if contrast.difference.value is None:
        return f"{label}: not measured (n = 0)."
    if not contrast.difference.resolved:
        return f"{label}: {_contrast_limit(contrast, unit)}."
    p = f", {p_value(contrast.p)}" if contrast.p is not None else ""
    return f"{label}: {interval(contrast.difference, unit, signed=True)}{p}."


def _contrast_limit(contrast: Contrast, unit: str) -> str:
    text = f"{interval(contrast.difference, unit, signed=True)}, not told apart from zero"
    if contrast.detectable:
        n = contrast.difference.n
        text += f"; cannot resolve differences below {amount(contrast.detectable, unit)} at n = {n}"
    return text


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
