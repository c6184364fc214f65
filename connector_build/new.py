"""`connector new NAME`: a connector that runs, passes its tests and builds, to start from."""

from __future__ import annotations

import datetime
import io
import re
import uuid
from pathlib import Path

import click

from connector_runtime import VERSION

_TEMPLATE = Path(__file__).parent / "template"
_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


@click.command("new")
@click.argument("name")
@click.option(
    "--into",
    type=click.Path(file_okay=False, path_type=Path),
    help="The folder to write; without it, one of the connector's name.",
)
def command(name: str, into: Path | None) -> None:
    """Write a new connector, with two actions, tests and a build, into a folder of its own."""
    if not _NAME.fullmatch(name):
        message = "must be lower-case letters and digits, with _ between words, such as weather"
        raise click.BadParameter(message, param_hint="NAME")
    folder = into or Path(name)
    if folder.exists() and any(folder.iterdir()):
        raise click.UsageError(f"'{folder}' is not empty: name another folder with --into.")
    try:
        files = contents(name)
    except ModuleNotFoundError as error:
        raise click.UsageError(
            f"'{error.name}' is not installed; it comes with the extra [build]."
        ) from error
    for path, content in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    click.echo(f"{folder}: {len(files)} files. Next:\n")
    click.echo(f"  cd {folder}\n  python -m pip install -e '.[test]'\n  pytest\n  python build.py")


def contents(name: str) -> dict[str, bytes]:
    """Return the files of a new connector, by their names in its folder."""
    import jinja2

    from . import package

    environment = jinja2.Environment(  # noqa: S701 - what is written is no HTML
        loader=jinja2.FileSystemLoader(_TEMPLATE),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    kit = package.kit()
    major = VERSION.partition(".")[0]
    today = datetime.datetime.now(datetime.timezone.utc).date()
    module = f"{name}_connector"
    words = {
        "name": name,
        "title": name.replace("_", " ").capitalize(),
        "package": module,
        "distribution": f"{name.replace('_', '-')}-connector",
        "guid": str(uuid.uuid4()),
        "runtime": f">={major}.0,<{int(major) + 1}",
        "kit": kit.name,
        "kit_range": _range(kit.version),
        "today": today.isoformat(),
        "year": today.year,
    }
    files = {}
    for path in sorted(_TEMPLATE.rglob("*.jinja")):
        source = path.relative_to(_TEMPLATE).as_posix()
        target = source.removesuffix(".jinja").replace("{{package}}", module)
        files[target] = environment.get_template(source).render(words).encode()
    files["icon.png"] = _icon()
    return files


def _range(version: str) -> str:
    major = int(version.partition(".")[0])
    return f">={version},<{major + 1}"


def _icon() -> bytes:
    """Return an icon to be replaced: a square."""
    from PIL import Image

    picture = io.BytesIO()
    Image.new("RGB", (128, 128), "#5b6770").save(picture, "PNG")
    return picture.getvalue()
