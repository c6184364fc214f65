"""From a name, a folder or a package file to a Connector, or an InvalidPackage that says where."""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import sys
import types
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from . import authentication, installed
from .connection import Action, Connector
from .errors import InvalidPackage
from .schema import Schema
from .settings import WRITTEN_FOR, settings_schema
from .version import VERSION, satisfies

Reader = Callable[[str], bytes]


def load(
    connector: str | os.PathLike[str],
    *,
    sha256: str | None = None,
    trusted_keys: Sequence[str | bytes] | None = None,
) -> Connector:
    """Load a connector by the name under which it is installed, from its folder or a package file.

    Text that is an installed connector's name is that one: write `./notes` for a folder that has
    such a name. A package is verified before a line of it runs; `sha256` and `trusted_keys` ask
    for more: see `archive.read`. A folder can't be verified, so it takes neither. The
    modules get a namespace of their own, so that any number of connectors, and versions of one,
    live side by side; it goes when the Connector does. Raise InvalidPackage.
    """
    path = installed.location(str(connector)) if installed.is_installed(connector) else connector
    try:
        root = Path(path).expanduser().resolve()
    except RuntimeError as error:  # "~" without a home, or links in a circle
        raise InvalidPackage(f"'{path}' can't be followed ({error}).") from error
    if root.is_dir():
        if sha256 is not None or trusted_keys is not None:
            raise InvalidPackage(f"'{path}' is a folder: only a package file can be verified.")
        return _assemble(_folder_reader(root), root, None)
    if not root.is_file():
        there = ", ".join(installed.names()) or "none"
        raise InvalidPackage(
            f"'{path}' is no connector's folder or package, nor the name of an installed one "
            f"(installed are: {there})."
        )
    from . import archive  # imported late: a folder does not need it

    files = archive.read(root, sha256, trusted_keys)

    def read(name: str) -> bytes:
        if name not in files:
            raise InvalidPackage(f"{name}: it is not in the package.")
        return files[name]

    return _assemble(read, root, files)


def _folder_reader(root: Path) -> Reader:
    def read(name: str) -> bytes:
        target = (root / PurePosixPath(name)).resolve()
        if not target.is_relative_to(root):
            raise InvalidPackage(f"{name}: it lies outside the connector.")
        try:
            return target.read_bytes()
        except OSError as error:
            raise InvalidPackage(f"{name}: it can't be read ({error.strerror}).") from error

    return read


def _assemble(read: Reader, root: Path, files: Mapping[str, bytes] | None) -> Connector:
    manifest = _manifest(read)
    schemas = {
        name: _schema(read, name)
        for entry in manifest["actions"]
        for name in (entry["input"], entry["output"])
    }
    try:
        settings = Schema(settings_schema(manifest))
    except ValueError as error:
        raise InvalidPackage(
            "connector.json: a 'pattern' of its parameters and options is no regular expression."
        ) from error
    _check_fields(manifest, schemas)
    for entry in manifest["actions"]:
        read(entry["handler"])
    if files is not None:  # while a connector is written, its folder may have no icon yet
        read(manifest["icon"])
    namespace, forget = _namespace(manifest["name"], root, files)
    try:
        auth = _module(namespace, manifest["auth"], ("connect", "check"))
        actions = {}
        for entry in manifest["actions"]:
            dotted = entry["handler"].removesuffix(".py").replace("/", ".")
            actions[entry["name"]] = Action(
                name=entry["name"],
                display_name=entry["displayName"],
                description=entry["description"],
                documentation=entry["documentation"],
                globals=tuple(entry["globals"]),
                effect=entry["effect"],
                repeatable=entry["repeatable"],
                streams=entry.get("streams"),
                identifier=entry.get("identifier"),
                find=entry.get("find", False),
                read_with=entry.get("readWith"),
                summary=tuple(entry.get("summary", ())),
                codes=tuple(entry.get("codes", ())),
                input=schemas[entry["input"]],
                output=schemas[entry["output"]],
                handler=_module(
                    namespace, dotted, ("run", "find") if entry.get("find") else ("run",)
                ),
            )
    except BaseException:
        forget()
        raise
    connector = Connector(manifest, actions, auth, settings)
    weakref.finalize(connector, forget)
    return connector


def _manifest(read: Reader) -> dict[str, Any]:
    manifest: dict[str, Any] = _json(read, "connector.json")
    _check_runtime(manifest)  # first: a later runtime's manifest may have keys unknown here
    problems = _own_schema().problems(manifest)
    if problems:
        raise InvalidPackage(f"connector.json: {'; '.join(problems)}.", problems=problems)
    parameters = {entry["name"]: entry for entry in manifest["parameters"]}
    names = [entry["name"] for entry in manifest["actions"]]
    settings = [*parameters, *(entry["name"] for entry in manifest["options"])]
    problems = [
        f"'{name}' is declared twice"
        for listing in (names, settings)
        for name in sorted({name for name in listing if listing.count(name) > 1})
    ]
    problems += authentication.problems(manifest)
    if WRITTEN_FOR in settings:
        problems.append(f"'{WRITTEN_FOR}' is the runtime's own setting: give it another name")
    problems += [
        f"'actions[{place}].globals' names '{name}', which is no global parameter"
        for place, entry in enumerate(manifest["actions"])
        for name in entry["globals"]
        if not parameters.get(name, {"global": False})["global"]
    ]
    if problems:
        raise InvalidPackage(f"connector.json: {'; '.join(problems)}.", problems=problems)
    return manifest


def _check_runtime(manifest: Any) -> None:
    """Refuse a connector that was made for another runtime than this one."""
    wanted = manifest.get("runtime") if isinstance(manifest, dict) else None
    if not isinstance(wanted, str):
        return  # the manifest's schema says so
    try:
        usable = satisfies(wanted)
    except ValueError as error:
        raise InvalidPackage(f"connector.json: 'runtime' is no range: {error}.") from error
    if not usable:
        name = f"{manifest.get('name')} {manifest.get('version')}"[:80]
        raise InvalidPackage(
            f"{name} needs connector_runtime {wanted}, and this is connector_runtime {VERSION}. "
            "Install one that it can use, or another version of the connector."
        )


def _check_fields(manifest: dict[str, Any], schemas: Mapping[str, Schema]) -> None:
    """Refuse an action whose entry names an input or output that its schemas do not have."""
    problems = []
    for place, entry in enumerate(manifest["actions"]):
        named = [("globals", "input", name) for name in entry["globals"]]
        named += [(key, "output", entry[key]) for key in ("streams", "identifier") if key in entry]
        problems += [
            f"'actions[{place}].{key}' names '{name}', which is no {side} of it"
            for key, side, name in named
            if name not in schemas[entry[side]].document["properties"]
        ]
    if problems:
        raise InvalidPackage(f"connector.json: {'; '.join(problems)}.", problems=problems)


def _own_schema() -> Schema:
    """Return the manifest's schema: the runtime's own copy, not one that a package brings."""
    text = pkgutil.get_data(__package__, "manifest.json")  # works from inside a zip file too
    return Schema(json.loads(text or b""))


def _schema(read: Reader, name: str) -> Schema:
    document = _json(read, name)
    if not isinstance(document, dict) or not isinstance(document.get("properties"), dict):
        raise InvalidPackage(f"{name}: it must be a JSON Schema of an object with 'properties'.")
    try:
        return Schema(document)
    except ValueError as error:
        raise InvalidPackage(f"{name}: it is not a valid JSON Schema (2020-12).") from error


def _json(read: Reader, name: str) -> Any:
    try:
        return json.loads(read(name).decode("utf-8"), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise InvalidPackage(f"{name}: it is not valid JSON ({error}).") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"'{next(n for n in names if names.count(n) > 1)}' is declared twice")
    return document


def _namespace(
    name: str, root: Path, files: Mapping[str, bytes] | None
) -> tuple[str, Callable[[], None]]:
    """Make an empty package under a name of its own for the connector's modules to load into.

    Return its name, and a function that removes it again.
    """
    namespace = f"connector_{name}_{os.urandom(16).hex()}"
    module = types.ModuleType(namespace)
    module.__path__ = [] if files is not None else [str(root)]
    finder = None
    if files is not None:
        from .archive import Finder

        finder = Finder(namespace, root, files)
        finder.install()
    sys.modules[namespace] = module

    def forget() -> None:
        if finder:
            finder.remove()
        for loaded in [n for n in sys.modules if n == namespace or n.startswith(f"{namespace}.")]:
            sys.modules.pop(loaded, None)

    return namespace, forget


def _module(namespace: str, dotted: str, names: Sequence[str]) -> Any:
    file = dotted.replace(".", "/")
    # A connector's code may raise anything, which must not end the engine.
    try:
        module = importlib.import_module(f"{namespace}.{dotted}")
        missing = [name for name in names if not callable(getattr(module, name, None))]
    except (Exception, SystemExit) as error:
        raise InvalidPackage(f"{file}: it can't be imported ({_said(error)}).") from error
    if missing:
        raise InvalidPackage(f"{file}: it has no function '{missing[0]}'.")
    return module


def _said(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {error}"
    except (Exception, SystemExit):  # noqa: BLE001 -- its __str__ is the connector's code too
        return "an error that can't be shown"
