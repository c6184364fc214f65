"""Makes a build: writes all files beside their place, reads them back, runs them, moves them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import click
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from connector_runtime import archive
from connector_runtime.errors import InvalidPackage

from . import bizc, listing, package, sbom, signing, xchange
from .targets import BIZC, LISTING

_WORK = ".build-"  # how the folders are named in which a build is made
_ABANDONED_SECONDS = 3600


class Refused(click.ClickException):
    """Ends a command with its reason and exit status 1."""

    exit_code = 1

    def show(self, file: object = None) -> None:
        click.echo(f"refused  {self.message}", err=True)


def step(name: str, result: str) -> None:
    """Print one line of progress."""
    click.echo(f"{name:<8} {result}")


def make(root: Path, files: Mapping[str, bytes], key: Path | None, output: Path) -> list[Path]:
    """Make the package of these files and the targets whose sources are there; return the paths.

    Raise Refused, which leaves the last build as it was.
    """
    manifest = json.loads(files["connector.json"])
    base = f"{manifest['name']}-{manifest['version']}"
    packages = {f"{base}.zip": files}
    if BIZC.has_sources(root):
        packages[f"{base}.bizc"] = bizc.contents(root)
    with _workplace(output) as work:
        for name, held in packages.items():
            package.write(work / name, held)
            content = (work / name).read_bytes()
            digest = hashlib.sha256(content).hexdigest()
            _save(work / f"{name}.sha256", f"{digest}  {name}\n".encode())
            required = package.requirements(root) if name.endswith(".zip") else []
            try:
                _save(work / f"{name}.cdx.json", sbom.sbom(root, name, content, required))
            except LookupError as error:
                raise Refused(f"{name}.cdx.json: {error}.") from error
            if key:
                _save(work / f"{name}.sig", _private(key).sign(content))
        if LISTING.has_sources(root):
            both = [
                listing.File(f"{base}.{kind}", (work / f"{base}.{kind}").read_bytes())
                for kind in ("bizc", "zip")
                if f"{base}.{kind}" in packages
            ]
            files_of = listing.listing(root, both[0], both[1] if len(both) > 1 else None)
            for file, text in files_of.items():
                _save(work / "listing" / file, text)
            for file, text in xchange.files(files_of, both[0]).items():
                _save(work / "xchange" / file, text)
        step("write", ", ".join(sorted(path.name for path in work.iterdir())))
        public = _private(key).public_key().public_bytes_raw() if key else None
        _verify(work / f"{base}.zip", files, public)
        step("verify", "the package is whole, loads, and runs as it is")
        if BIZC.has_sources(root):
            step("verify", _verify_bizc(work / f"{base}.bizc", packages[f"{base}.bizc"]))
        _publish(work, output, _last(output, base))
    return _last(output, base)


def make_bizc(root: Path, output: Path) -> list[Path]:
    """Make the .bizc alone, and return its path."""
    files = bizc.contents(root)
    step("collect", f"{len(files)} files, {sum(map(len, files.values())):,} bytes")
    manifest = json.loads((root / "connector.json").read_bytes())
    name = f"{manifest['name']}-{manifest['version']}.bizc"
    with _workplace(output) as work:
        package.write(work / name, files)
        step("write", name)
        step("verify", _verify_bizc(work / name, files))
        # The last build's files about another .bizc would describe a file that is gone.
        of_it = [
            path for path in _last(output, name.removesuffix(".bizc")) if ".zip" not in path.name
        ]
        _publish(work, output, of_it)
    return [output / name]


def show(root: Path, paths: list[Path]) -> None:
    """Print what was made: path, size and hash."""
    for path in sorted(path for path in paths if path.is_file()):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        shown = path.relative_to(root) if path.is_relative_to(root) else path
        click.echo(f"{shown}: {path.stat().st_size:,} bytes, SHA-256 {digest}")


@contextlib.contextmanager
def _workplace(output: Path) -> Iterator[Path]:
    """Give a folder beside the final places, on the same disk; it is removed after the build."""
    try:
        output.mkdir(parents=True, exist_ok=True)
        for left in output.glob(f"{_WORK}*"):  # left by a build that was killed
            if time.time() - left.stat().st_mtime > _ABANDONED_SECONDS:
                shutil.rmtree(left)
        folder = output / f"{_WORK}{os.getpid()}-{time.time_ns()}"
        try:  # before it is made, so that a signal at that very moment leaves nothing
            folder.mkdir()
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        raise Refused(f"{error.filename or output}: {error.strerror}.") from error


def _save(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _private(key: Path) -> Ed25519PrivateKey:
    try:
        return signing.read_key(key)
    except ValueError as error:
        raise Refused(f"{error}.") from error


def _verify(target: Path, files: Mapping[str, bytes], public: bytes | None) -> None:
    """Read the package back as an engine would, then run it in a process of its own."""
    try:
        if archive.read(target, None, [public] if public else None) != files:
            raise Refused("the package does not hold what was put into it.")
    except InvalidPackage as error:
        raise Refused(str(error)) from error
    ran = _run([sys.executable, "-I", "-B", str(target), "actions"])
    listed = [line.split()[0] for line in ran.stdout.splitlines()]
    declared = [action["name"] for action in json.loads(files["connector.json"])["actions"]]
    if ran.returncode or listed != declared:
        raise Refused(f"the package does not run: {ran.stderr.strip() or ran.stdout.strip()}")


def _verify_bizc(target: Path, files: Mapping[str, bytes]) -> str:
    """Read the .bizc back and, where Node.js is installed, load all the JavaScript."""
    with zipfile.ZipFile(target) as written:
        if {name: written.read(name) for name in written.namelist()} != files:
            raise Refused(f"{target.name} does not hold what was put into it.")
        node = shutil.which("node")
        if node is None:
            return "the .bizc is whole; without Node.js here, its JavaScript was not loaded"
        with tempfile.TemporaryDirectory() as folder:
            written.extractall(folder)
            sources = [str(Path(folder, name)) for name in files if name.endswith(".js")]
            require = "process.argv.slice(1).forEach((file) => require(file))"
            ran = _run([node, "-e", require, *sources])
    if ran.returncode or ran.stdout:
        raise Refused(f"{target.name} does not load: {(ran.stderr or ran.stdout).strip()}")
    return "the .bizc is whole, and Node.js loads it"


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603
        command, capture_output=True, text=True, encoding="utf-8", check=False
    )


def _publish(work: Path, output: Path, last: list[Path]) -> None:
    """Move what was made to its place, and remove what the last build made and this one did not.

    Above all, a signature must not stay beside another package.
    """
    wanted = {path.relative_to(work) for path in work.rglob("*") if path.is_file()}
    for path in sorted(wanted):  # before anything is replaced
        if (output / path).is_dir():
            raise Refused(f"{output / path} is a folder, where a file belongs: move it elsewhere.")
        (output / path).parent.mkdir(parents=True, exist_ok=True)
    for old in last:
        if old.is_file() and old.relative_to(output) not in wanted:
            old.unlink()
    for path in sorted(wanted):
        os.replace(work / path, output / path)


def _last(output: Path, base: str) -> list[Path]:
    """Return what a build of this version leaves in the output folder, as far as it is there."""
    endings = ("", ".sha256", ".sig", ".cdx.json")
    single = [output / f"{base}.{kind}{end}" for kind in ("zip", "bizc") for end in endings]
    return [*single, *(output / "listing").rglob("*"), *(output / "xchange").rglob("*")]
