"""Build what a marketplace gets: `python build.py`; `python build.py --help` for the rest.

Exit status: 0 built (or nothing to object to), 1 refused, 2 wrong usage.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

try:
    import click

    from connector_build import bizc as bizagi
    from connector_build import check as checks
    from connector_build import contract, package, sbom, signing
    from connector_build import listing as listings
    from connector_build.findings import Finding
    from connector_runtime import archive
    from connector_runtime.errors import InvalidPackage
except ImportError as error:
    if (error.name or "").startswith(("connector_", "build")):
        raise  # a file of the tree itself is missing: the traceback says where it is wanted
    print(
        f"build.py needs the package '{error.name}', which is not installed here. "
        "`make build` makes an environment of its own; or: python -m pip install -e '.[build]'",
        file=sys.stderr,
    )
    sys.exit(2)

ROOT = Path(__file__).resolve().parent
DIST = ROOT / "dist"
FILE = click.Path(exists=True, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)
_WORK = ".build-"  # how the folders are named in which a build is made
_ABANDONED_SECONDS = 3600


class Refused(click.ClickException):
    """Ends a command with its reason and exit status 1."""

    exit_code = 1

    def show(self, file: object = None) -> None:
        click.echo(f"refused  {self.message}", err=True)


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--sign", "key", type=FILE, help="An Ed25519 private key (PEM) to sign with.")
@click.option("--against", type=FILE, help="The released package, which this one replaces.")
@click.option("--output", type=FOLDER, default=DIST, help="Where to: dist/.")
@click.pass_context
def cli(context: click.Context, key: Path | None, against: Path | None, output: Path) -> None:
    """Check, collect, write and verify the connector's package and its listing.

    Exit status: 0 built, 1 refused, 2 wrong usage. A refused build leaves the last one whole.
    """
    try:
        package.timestamp()
    except (ValueError, OverflowError, OSError) as error:
        message = "SOURCE_DATE_EPOCH must be whole seconds from 1970 to 2107."
        raise click.UsageError(message) from error
    if context.invoked_subcommand is None:
        build(key, against, output)
    elif key or against or output != DIST:
        raise click.UsageError("These options are the build's own, and come without a command.")


def build(key: Path | None, against: Path | None, output: Path) -> None:
    _refuse_errors(checks.check(ROOT))
    files = package.contents(ROOT)
    step("collect", f"{len(files)} files, {sum(map(len, files.values())):,} bytes")
    if against:
        _refuse_small_step(against, files)
    manifest = json.loads(files["connector.json"])
    name = f"{manifest['name']}-{manifest['version']}.zip"
    with _workplace(output) as made:
        package.write(made / name, files)
        content = (made / name).read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        _save(made / f"{name}.sha256", f"{digest}  {name}\n".encode())
        public = _sign(key, made / name) if key else None
        try:
            _save(made / "sbom.cdx.json", sbom.sbom(ROOT, name, content))
        except LookupError as error:
            raise Refused(f"sbom.cdx.json: {error}.") from error
        for file, text in listings.listing(ROOT, name, content).items():
            _save(made / "listing" / file, text)
        step("write", ", ".join(sorted(path.name for path in made.iterdir())))
        _verify(made / name, files, digest, public)
        step("verify", "the package is whole, loads, and runs as it stands")
        _publish(made, output, _made(output, name))
    _show(_made(output, name))


@contextlib.contextmanager
def _workplace(output: Path) -> Iterator[Path]:
    """Give a folder beside the final places, on the same disk; nothing of it outlives the build."""
    try:
        output.mkdir(parents=True, exist_ok=True)
        for left in output.glob(f"{_WORK}*"):  # by a build that was killed
            if time.time() - left.stat().st_mtime > _ABANDONED_SECONDS:
                shutil.rmtree(left)
        with tempfile.TemporaryDirectory(dir=output, prefix=_WORK) as folder:
            yield Path(folder)
    except OSError as error:
        raise Refused(f"{error.filename or output}: {error.strerror}.") from error


def _show(paths: list[Path]) -> None:
    for path in sorted(each for each in paths if each.is_file()):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        shown = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
        click.echo(f"{shown}: {path.stat().st_size:,} bytes, SHA-256 {digest}")


def step(name: str, done: str) -> None:
    click.echo(f"{name:<8} {done}")


def _refuse_errors(findings: list[Finding]) -> None:
    errors = [finding for finding in findings if finding.tier == "error"]
    for finding in findings:
        click.echo(str(finding), err=True)
    if errors:
        raise Refused(f"{len(errors)} errors, nothing was built; the last build is as it was.")
    step("check", f"no error, {len(findings)} warnings and pieces of advice")


def _refuse_small_step(against: Path, files: Mapping[str, bytes]) -> None:
    verdict = _compare(_read(against), files)
    if not verdict["enough"]:
        for change in verdict["changes"]:
            click.echo(str(change), err=True)
        raise Refused(
            f"{verdict['level']} changes since {verdict['old']}: the version must be "
            f"{verdict['least']} or higher, and connector.json says {verdict['new']}."
        )
    step("compare", f"changes since {verdict['old']}: {verdict['level']}; now {verdict['new']}")


def _compare(old: Mapping[str, bytes], new: Mapping[str, bytes]) -> dict[str, Any]:
    try:
        changes = contract.compare(old, new)
        was, now = contract.version(old), contract.version(new)
    except (InvalidPackage, ValueError) as error:
        raise Refused(str(error)) from error
    level = contract.level(changes)
    return {
        "level": level,
        "old": was,
        "new": now,
        "least": contract.least(was, level),
        "enough": contract.is_enough(was, now, level),
        "changes": changes,
    }


def _read(path: Path) -> dict[str, bytes]:
    try:
        return contract.read(path)
    except InvalidPackage as error:
        raise Refused(str(error)) from error
    except (KeyError, ValueError) as error:
        raise Refused(f"{path}: pyproject.toml can't be read ({error}).") from error


def _save(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _sign(key: Path, target: Path) -> bytes:
    """Sign the package and return the public key."""
    try:
        private = signing.read_key(key)
    except ValueError as error:
        raise Refused(f"{error}.") from error
    _save(target.with_name(f"{target.name}.sig"), private.sign(target.read_bytes()))
    return private.public_key().public_bytes_raw()


def _verify(target: Path, files: Mapping[str, bytes], digest: str, public: bytes | None) -> None:
    """Read the package back as an engine would, then run it in a process of its own."""
    try:
        if archive.read(target, digest, [public] if public else None) != files:
            raise Refused("the package does not hold what was put into it.")
    except InvalidPackage as error:
        raise Refused(str(error)) from error
    ran = subprocess.run(  # noqa: S603
        [sys.executable, "-I", "-B", str(target), "actions"],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    listed = [line.split()[0] for line in ran.stdout.splitlines()]
    if ran.returncode or listed != [
        action["name"] for action in json.loads(files["connector.json"])["actions"]
    ]:
        raise Refused(f"the package does not run: {ran.stderr.strip() or ran.stdout.strip()}")


def _verify_bizc(target: Path, files: Mapping[str, bytes]) -> str:
    """Read the .bizc back, and where Node.js is, let it load all the JavaScript."""
    with zipfile.ZipFile(target) as written:
        if {name: written.read(name) for name in written.namelist()} != files:
            raise Refused(f"{target.name} does not hold what was put into it.")
        node = shutil.which("node")
        if node is None:
            return "the package is whole; without Node.js here, its JavaScript was not loaded"
        with tempfile.TemporaryDirectory() as folder:
            written.extractall(folder)
            sources = [str(Path(folder, name)) for name in files if name.endswith(".js")]
            ran = subprocess.run(  # noqa: S603
                [node, "-e", "process.argv.slice(1).forEach((file) => require(file))", *sources],
                capture_output=True,
                text=True,
                encoding="utf-8",
                check=False,
            )
    if ran.returncode or ran.stdout:
        raise Refused(f"{target.name} does not load: {(ran.stderr or ran.stdout).strip()}")
    return "the package is whole, and Node.js loads it"


def _publish(made: Path, output: Path, last: list[Path]) -> None:
    """Move what was made to where it belongs; of the last build, what is not made anew must go.

    A signature, above all, must not stay beside a package that it does not belong to.
    """
    wanted = {path.relative_to(made) for path in made.rglob("*") if path.is_file()}
    for path in sorted(wanted):  # before anything is replaced
        if (output / path).is_dir():
            raise Refused(f"{output / path} is a folder, where a file belongs: move it elsewhere.")
        (output / path).parent.mkdir(exist_ok=True)
    for old in last:
        if old.is_file() and old.relative_to(output) not in wanted:
            old.unlink()
    for path in sorted(wanted):
        os.replace(made / path, output / path)


def _made(output: Path, name: str) -> list[Path]:
    """Return what a build of this version leaves in the output folder, as far as it is there."""
    single = [output / f"{name}{ending}" for ending in ("", ".sha256", ".sig")]
    return [*single, output / "sbom.cdx.json", *(output / "listing").rglob("*")]


@cli.command()
@click.option("--output", type=FOLDER, default=DIST, help="Where to: dist/.")
def bizc(output: Path) -> None:
    """Check, collect, write and verify the package that Bizagi Studio installs (.bizc)."""
    _refuse_errors(checks.check(ROOT))
    files = bizagi.contents(ROOT)
    step("collect", f"{len(files)} files, {sum(map(len, files.values())):,} bytes")
    manifest = json.loads((ROOT / "connector.json").read_bytes())
    name = f"{manifest['name']}-{manifest['version']}.bizc"
    with _workplace(output) as made:
        package.write(made / name, files)
        step("write", name)
        step("verify", _verify_bizc(made / name, files))
        _publish(made, output, [])
    _show([output / name])


@cli.command()
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text")
def check(form: str) -> None:
    """Show everything that is wrong with the source tree, and build nothing."""
    findings = checks.check(ROOT)
    errors = sum(finding.tier == "error" for finding in findings)
    if form == "json":
        click.echo(checks.as_json(findings))
    else:
        for finding in findings:
            click.echo(str(finding))
        click.echo(f"{errors} errors, {len(findings) - errors} warnings and pieces of advice")
    if errors:
        sys.exit(1)


@cli.command()
@click.argument("old", type=FILE)
@click.argument("new", type=FILE, default=ROOT)
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text")
def diff(old: Path, new: Path, form: str) -> None:
    """Compare the contracts of two packages; NEW is this source tree unless it is given.

    Says whether the changes ask for a major, minor or patch version, with every reason. The exit
    status is 0 whatever it says; to refuse a version that is too small, build with --against.
    """
    verdict = _compare(_read(old), _read(new))
    if form == "json":
        listed = [change._asdict() for change in verdict["changes"]]
        click.echo(json.dumps({**verdict, "changes": listed}, indent=2, ensure_ascii=False))
        return
    for change in verdict["changes"]:
        click.echo(str(change))
    enough = "which will do" if verdict["enough"] else "which is too small"
    click.echo(
        f"{verdict['level']}: {verdict['least']} or higher after {verdict['old']}; "
        f"it says {verdict['new']}, {enough}"
    )


@cli.command()
@click.argument("path", type=click.Path(dir_okay=False, path_type=Path))
def keygen(path: Path) -> None:
    """Make a pair of keys: PATH to sign with and to keep, PATH.pub for those who load packages."""
    if not path.name:
        raise click.UsageError("PATH must name a file.")
    try:
        public = signing.make_keys(path)
    except OSError as error:
        raise Refused(str(error)) from error
    click.echo(f"{path}: the private key. Keep it out of the repository, and keep it.")
    click.echo(f"{public}: the public key, for load(…, trusted_keys=[…]).")


def _end(number: int, frame: object) -> None:
    """Leave as after Ctrl-C, so that what was begun is cleared away."""
    sys.exit(128 + number)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _end)
    cli()
