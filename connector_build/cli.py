"""The build's command line, for the connector in one folder."""

from __future__ import annotations

import json
import shutil
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from connector_runtime import archive, environments
from connector_runtime.errors import InvalidConfiguration, InvalidPackage

from . import bizc as bizc_target
from . import bizc_contract, bizc_try, checks, contract, making, package, signing
from .findings import Finding, fault
from .making import Refused, step
from .targets import BIZC

FILE = click.Path(exists=True, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)


def run(root: Path) -> None:
    """Run the command line for the connector in `root`; exit with 0, 1 refused, 2 wrong usage.

    SIGTERM ends it as Ctrl-C does, so that unfinished files are removed; the exit status is 143.
    """
    received: list[int] = []

    def end(number: int, frame: object) -> None:
        received.append(number)
        sys.exit(128 + number)

    signal.signal(signal.SIGTERM, end)
    try:
        cli(obj=root)
    finally:
        # What it interrupts may raise an error of its own in place of the exit, as zipfile does.
        if received:
            sys.exit(128 + received[0])


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--sign", "key", type=FILE, help="An Ed25519 private key (PEM) to sign with.")
@click.option("--against", type=FILE, help="The released package, which this one replaces.")
@click.option("--output", type=FOLDER, help="Where to: dist/ unless it is given.")
@click.pass_context
def cli(
    context: click.Context, key: Path | None, against: Path | None, output: Path | None
) -> None:
    """Check, collect, write and verify the connector's package and what is uploaded beside it.

    The .bizc and the listing are made where the tree has their sources.

    Exit status: 0 built, 1 refused, 2 wrong usage. A refused build does not change the last one.
    """
    try:
        package.timestamp()
    except (ValueError, OverflowError, OSError) as error:
        message = "SOURCE_DATE_EPOCH must be whole seconds from 1970 to 2107."
        raise click.UsageError(message) from error
    if context.invoked_subcommand is not None:
        if key or against or output:
            raise click.UsageError(
                "These options belong to the build, which has no command's name."
            )
        return
    root = context.obj
    _refuse_errors(checks.check(root))
    files = package.contents(root)
    step("collect", f"{len(files)} files, {sum(map(len, files.values())):,} bytes")
    if against:
        _refuse_small_step(root, against)
    making.show(root, making.make(root, files, key, output or root / "dist"))


@cli.command()
@click.option("--output", type=FOLDER, help="Where to: dist/ unless it is given.")
@click.option("--try", "action", metavar="ACTION", help="Run it as Bizagi would; build nothing.")
@click.option("--input", "given", metavar="JSON", help="With --try: its input; - reads stdin.")
@click.option("--config", type=FILE, help="With --try: the YAML file with the settings.")
@click.option("--environment", metavar="NAME", help="With --try: which of the file's to use.")
@click.pass_obj
def bizc(
    root: Path,
    output: Path | None,
    action: str | None,
    given: str | None,
    config: Path | None,
    environment: str | None,
) -> None:
    """Check, collect, write and verify the package that Bizagi Studio installs (.bizc).

    --try ACTION (or authenticator) unpacks the package, starts a host as Bizagi has it, makes the
    call, and prints the envelope. Exit status: 0 success, 1 failure.
    """
    if action is None:
        if given or config or environment:
            raise click.UsageError("--input, --config and --environment belong to --try.")
        _refuse_errors(checks.check(root))
        making.show(root, making.make_bizc(root, output or root / "dist"))
        return
    try:
        text = sys.stdin.read() if given == "-" else given or "{}"
        inputs = json.loads(text)
    except ValueError as error:
        raise click.UsageError(f"--input must be JSON ({error}).") from None
    try:
        settings = environments.read(config, environment) if config else {}
    except InvalidConfiguration as error:
        raise click.UsageError(str(error)) from None
    envelope = bizc_try.attempt(root, action, inputs, settings)
    click.echo(json.dumps(envelope, indent=2, ensure_ascii=False))
    if not envelope["success"]:
        sys.exit(1)


@cli.command()
@click.option("--against", type=FILE, help="The released package: is the version high enough?")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text")
@click.pass_obj
def check(root: Path, against: Path | None, form: str) -> None:
    """Show everything that is wrong with the source tree, and build nothing."""
    findings = checks.check(root)
    if against:
        findings += _version_step(against, root)
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
@click.argument("new", type=FILE, required=False)
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text")
@click.pass_obj
def diff(root: Path, old: Path, new: Path | None, form: str) -> None:
    """Compare the contracts of two packages; NEW is this source tree unless it is given.

    Says whether the changes ask for a major, minor or patch version, with every reason. The exit
    status is 0 whatever it says; to refuse a version that is too small, build with --against.
    """
    verdict = _compare(root, old, new or root)
    if form == "json":
        listed = [change._asdict() for change in verdict["changes"]]
        click.echo(json.dumps({**verdict, "changes": listed}, indent=2, ensure_ascii=False))
        return
    for change in verdict["changes"]:
        click.echo(str(change))
    enough = "which is high enough" if verdict["enough"] else "which is too small"
    click.echo(
        f"{verdict['level']}: {verdict['least']} or higher after {verdict['old']}; "
        f"it says {verdict['new']}, {enough}"
    )


@cli.command()
@click.pass_obj
def generate(root: Path) -> None:
    """Write the tree's copy of the manifest's schema again: schemas/manifest.json, for editors."""
    target = root / "schemas" / "manifest.json"
    shutil.copyfile(Path(archive.__file__).with_name("manifest.json"), target)
    click.echo(f"{target.relative_to(root)}: the runtime's schema of a manifest")


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


def _refuse_errors(findings: list[Finding]) -> None:
    errors = [finding for finding in findings if finding.tier == "error"]
    for finding in findings:
        click.echo(str(finding), err=True)
    if errors:
        raise Refused(f"{len(errors)} errors, nothing was built; the last build is as it was.")
    step("check", f"no error, {len(findings)} warnings and pieces of advice")


def _refuse_small_step(root: Path, against: Path) -> None:
    verdict = _compare(root, against, root)
    if not verdict["enough"]:
        for change in verdict["changes"]:
            click.echo(str(change), err=True)
        raise Refused(
            f"{verdict['level']} changes since {verdict['old']}: the version must be "
            f"{verdict['least']} or higher, and connector.json says {verdict['new']}."
        )
    step("compare", f"changes since {verdict['old']}: {verdict['level']}; now {verdict['new']}")


def _version_step(against: Path, root: Path) -> list[Finding]:
    """Report a version that is too small for what changed since a released package."""
    try:
        package.contents(root)
    except (OSError, ValueError, KeyError):
        return []  # other checks report what is missing or can't be read
    verdict = _compare(root, against, root)
    if verdict["enough"]:
        return []
    message = f"{verdict['level']} changes since {verdict['old']}: make it {verdict['least']}"
    return [fault("version-step", "connector.json", "version", message)]


def _compare(root: Path, old: Path, new: Path) -> dict[str, Any]:
    """Compare two packages, or source trees; and a .bizc, where either is one or has one beside it.

    Raise Refused where there is nothing to compare.
    """
    try:
        before, after = _packages(old), _packages(new)
        kinds = [kind for kind in before if kind in after]
        if not kinds:
            raise Refused(f"{old}: it is no package of the kind that {new} is.")
        changes = [] if "zip" not in kinds else contract.compare(before["zip"], after["zip"])
        if "bizc" in kinds:
            pair = before["bizc"], after["bizc"]
            bizc_changes = [*bizc_contract.compare(*pair), *bizc_contract.behaviour(root, *pair)]
            changes += [change._replace(place=f".bizc {change.place}") for change in bizc_changes]
        was, now = _version(before, kinds[0]), _version(after, kinds[0])
    except (InvalidPackage, ValueError) as error:
        raise Refused(str(error)) from error
    level = contract.level(changes)
    return {
        "level": level,
        "old": was,
        "new": now,
        "least": contract.least(was, level),
        "enough": contract.is_enough(was, now, level),
        "changes": sorted(changes, key=lambda change: -contract.LEVELS.index(change.level)),
    }


def _packages(path: Path) -> dict[str, Mapping[str, bytes]]:
    """Return the files of the packages at a path, as "zip" and "bizc"; a tree's are made."""
    if path.is_dir():
        packages: dict[str, Mapping[str, bytes]] = {"zip": _read(path)}
        if BIZC.has_sources(path):
            packages["bizc"] = bizc_target.contents(path)
        return packages
    packages = {}
    zipped, other = path, path.with_suffix(".bizc")
    if path.suffix == ".bizc":
        zipped, other = path.with_suffix(".zip"), path
    if zipped == path or zipped.is_file():
        packages["zip"] = _read(zipped)
    if other.is_file():
        packages["bizc"] = bizc_contract.read(other)
    return packages


def _version(packages: Mapping[str, Mapping[str, bytes]], kind: str) -> str:
    if kind == "zip":
        return contract.version(packages["zip"])
    return bizc_contract.version(packages["bizc"])


def _read(path: Path) -> dict[str, bytes]:
    try:
        return contract.read(path)
    except (KeyError, ValueError) as error:
        raise Refused(f"{path}: pyproject.toml can't be read ({error}).") from error
