"""`vlascope new-adapter`: the package of an adapter of one's own, which passes every check."""

from __future__ import annotations

import importlib.util
import json
import keyword
import re
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit
from urllib.request import url2pathname

import typer

from vlascope import plugins
from vlascope.errors import AlreadyThere, FileMissing, InvalidName, VlascopeError

__all__ = ["app", "write_adapter"]

app = typer.Typer()

_PLACEHOLDER = "my_policy"
_LEFT_OUT = ("__pycache__", ".pytest_cache", ".venv", "uv.lock")


@app.command()
def new_adapter(
    name: Annotated[str, typer.Argument(help="What users will type, as in `vlascope check NAME`.")],
    path: Annotated[
        Path | None, typer.Option("--path", help="The folder to write; by default vlascope-NAME.")
    ] = None,
) -> None:
    """Write the package of an adapter of your own: four files that work as they are.

    Its network is a small stand-in that plays the toy benchmark. Install it, check it, then put
    your own policy in its place; the checks say what is still missing.

    Examples:

        vlascope new-adapter octo

        vlascope new-adapter octo --path ~/code/octo-adapter
    """
    folder = path if path is not None else Path(f"vlascope-{name.replace('_', '-')}")
    try:
        written = write_adapter(name, folder)
    except VlascopeError:
        raise
    except OSError as error:
        raise typer.BadParameter(f"{folder} cannot be written: {error.strerror}") from error
    typer.echo(f"{folder}:")
    for file in written:
        typer.echo(f"  {file.relative_to(folder)}")
    typer.echo(
        f"\nNext:\n  cd {folder}\n  pip install -e .    # or `uv sync`, then `uv run` before each\n"
        f"  vlascope list adapters\n  vlascope check {name}\n  pytest"
    )


def write_adapter(name: str, folder: Path) -> list[Path]:
    """Write the template, renamed, into a new or empty folder; the files, in order.

    Raises:
        InvalidName: it is no lower-case identifier, or an adapter or package goes by it already.
        AlreadyThere: the folder holds something, or is a file.
        FileMissing: this installation carries no template.
    """
    _refuse_name(name)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise AlreadyThere(f"{folder} is there already; give another folder with --path")
    camel = "".join(word.capitalize() for word in name.split("_"))
    renamings = {
        _PLACEHOLDER: name,
        _PLACEHOLDER.replace("_", "-"): name.replace("_", "-"),
        "MyPolicy": camel,
    }
    written = []
    for file in _template_files():
        target = folder / _renamed(str(file.relative_to(_template())), renamings)
        target.parent.mkdir(parents=True, exist_ok=True)
        text = _renamed(file.read_text(encoding="utf-8"), renamings)
        if file.name == "pyproject.toml":
            text += _local_source()
        target.write_text(text, encoding="utf-8")
        written.append(target)
    return written


def _refuse_name(name: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name) or keyword.iskeyword(name):
        proposal = "_".join(re.findall(r"[a-z0-9]+", name.lower()))
        usable = proposal.isidentifier() and not keyword.iskeyword(proposal)
        hint = f", for example {proposal!r}" if usable else ""
        raise InvalidName(f"{name!r} names no adapter: write a lower-case Python identifier{hint}")
    if name in plugins.adapters():
        taken = plugins.adapters()[name]
        raise InvalidName(
            f"{name!r} is taken: an adapter of {taken.distribution or taken.plugin} goes by it; "
            "`vlascope list adapters` shows them"
        )
    if importlib.util.find_spec(f"vlascope_{name}") is not None:
        raise InvalidName(f"a package vlascope_{name} is installed already; choose another name")


def _template() -> Path:
    """The template: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    places = (package / "template", package.parents[1] / "adapters" / "template")
    for folder in places:
        if (folder / "pyproject.toml").is_file():
            return folder
    raise FileMissing(
        f"the adapter template is not in {' nor in '.join(map(str, places))}: reinstall vlascope"
    )


def _template_files() -> list[Path]:
    """Its files, pyproject.toml first."""
    root = _template()
    found = [
        path
        for path in root.rglob("*")
        if path.is_file() and not set(path.relative_to(root).parts) & set(_LEFT_OUT)
    ]
    return sorted(found, key=lambda path: (path.parent != root, path))


def _renamed(text: str, renamings: dict[str, str]) -> str:
    return re.sub("|".join(renamings), lambda found: renamings[found[0]], text)


def _local_source() -> str:
    """Where uv finds vlascope, if it was installed from a folder here rather than an index."""
    try:
        origin = json.loads(distribution("vlascope").read_text("direct_url.json") or "{}")
    except PackageNotFoundError:
        return ""
    if "dir_info" not in origin:
        return ""
    folder = json.dumps(url2pathname(urlsplit(origin["url"]).path))
    return (
        "\n# vlascope is developed in a folder here; remove this to take it from an index.\n"
        f"[tool.uv.sources]\nvlascope = {{ path = {folder}, editable = true }}\n"
    )
