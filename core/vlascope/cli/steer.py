"""`vlascope steer`: one policy, one task, before and after."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from vlascope.interventions import Intervention
    from vlascope.steering_demo import SteeringShown

__all__ = ["app"]

app = typer.Typer()


@app.command()
def steer(
    policy: Annotated[str, typer.Option(metavar="ADAPTER:CHECKPOINT", help="Which policy.")],
    benchmark: Annotated[str, typer.Option(help="A registered benchmark.")],
    task: Annotated[str, typer.Option(help="One of its tasks.")],
    direction: Annotated[
        str, typer.Option(metavar="FILE#NAME", help="A direction in a file of directions.")
    ],
    strength: Annotated[
        float, typer.Option(help="Alpha, as a multiple of each token's own norm.")
    ] = 0.5,
    absolute: Annotated[
        bool, typer.Option("--absolute", help="Alpha is in residual units instead.")
    ] = False,
    hold: Annotated[
        str | None,
        typer.Option(metavar="QUANTITY=VALUE", help="Hold speed (m/s) or height (m) instead."),
    ] = None,
    gain: Annotated[float, typer.Option(help="With --hold: alpha per unit of error.")] = 1.0,
    integral: Annotated[
        float, typer.Option(help="With --hold: alpha per unit of summed error.")
    ] = 0.5,
    limit: Annotated[float, typer.Option(help="With --hold: largest |alpha|.")] = 1.0,
    at: Annotated[
        str | None, typer.Option(help="Another layer of the same site than it was found at.")
    ] = None,
    tokens: Annotated[
        list[str] | None, typer.Option(help="Only tokens of spans that match this glob.")
    ] = None,
    from_step: Annotated[int, typer.Option(min=0, help="Steer from this step on.")] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Initial state and noise.")] = 0,
    max_steps: Annotated[int | None, typer.Option(min=1, help="Steps at most.")] = None,
    out: Annotated[Path, typer.Option(help="A folder for everything written.")] = Path("steered"),
    device: Annotated[str, typer.Option(help="Where the policy runs.")] = "cpu",
    video: Annotated[bool, typer.Option(help="Write the mp4 (needs vlascope[video]).")] = True,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
) -> None:
    """Play a task as it is, steered, and along a random direction.

    The random step is as long as the steered one; with --hold the same controller takes it.
    All three start alike (same seed). Writes result.json, strip.png and side_by_side.mp4 into
    the folder. One episode each shows what happens; a study with the `steering` recipe says
    how often.

    Examples:

        vlascope steer --policy toy:bundled --benchmark toy --task shared/red
        --direction colours.safetensors#green --tokens soft_prompt --strength 1 --out steered

        vlascope steer --policy toy:bundled --benchmark toy --task shared/red
        --direction colours.safetensors#green --hold speed=0.4 --out held --no-video
    """
    from vlascope.loading import load
    from vlascope.rollout import BenchmarkSpec
    from vlascope.steering_demo import show_steering

    adapter, _, checkpoint = policy.partition(":")
    loaded = load(adapter, checkpoint or "tiny", device=device)
    fields: dict[str, Any] = {"tokens": tokens or None, "relative": not absolute}
    if from_step:
        fields["steps"] = (from_step, 10**9)
    loop = {"gain": gain, "integral": integral, "limits": (-limit, limit)}
    edit = _edit(direction, at, strength, hold, benchmark, fields, loop)
    shown = show_steering(
        loaded,
        BenchmarkSpec(name=benchmark),
        task,
        edit,
        out,
        seed=seed,
        max_steps=max_steps,
        video=video,
        progress=not quiet,
    )
    _print(shown, out)


def _edit(
    direction: str,
    at: str | None,
    strength: float,
    hold: str | None,
    benchmark: str,
    fields: dict[str, Any],
    loop: dict[str, Any],
) -> Intervention:
    """The intervention that the options describe."""
    from vlascope import plugins
    from vlascope.directions import load_directions
    from vlascope.interventions import Steer, SteerTo
    from vlascope.interventions.named import NamedVectors

    file, _, name = direction.rpartition("#")
    if not file or not name:
        raise typer.BadParameter(f"--direction is FILE#NAME; got {direction!r}")
    found = load_directions(file).direction(name)
    given = NamedVectors(file, name, found, layers=at is not None)
    if hold is None:
        return Steer(at=(at or found.at,), direction=given, strength=strength, **fields)
    quantity, _, value = hold.partition("=")
    try:
        target = float(value)
    except ValueError as error:
        raise typer.BadParameter(f"--hold is QUANTITY=VALUE; got {hold!r}") from error
    env = plugins.benchmark_class(benchmark)()
    hz = env.info.hz
    env.close()
    return SteerTo(
        at=(at or found.at,),
        direction=given,
        quantity=quantity,
        target=target,
        hz=hz,
        **loop,
        **fields,
    )


def _print(shown: SteeringShown, out: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    from vlascope.steering_demo import ARMS

    table = Table(title=f"{shown.task}, seed {shown.seed}, {shown.policy}", title_justify="left")
    for column in ("", "success", "steps", "speed m/s", "height m", "moved m", "|dx|/|x|"):
        table.add_column(column)
    for arm, found in shown.episodes.items():
        numbers = (found.speed, found.height, shown.displacement[arm], found.dx_ratio)
        cells = ("" if n is None else f"{n:.3f}" for n in numbers)
        table.add_row(ARMS[arm], "yes" if found.success else "no", str(found.steps), *cells)
    Console().print(table)
    typer.echo(f"one episode each, no interval; pictures and numbers are in {out}")
