"""What a .bizc promises to the processes that use it, and how two versions' promises differ.

Studio replaces an installed connector of the same name and major version in place, so whatever
could break a process that was drawn for the old one is a major change.
"""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from connector_runtime.errors import InvalidPackage

from . import bizc, bizc_try
from .contract import LEVELS, Change

_XS = "{http://www.w3.org/2001/XMLSchema}"
_DEFINITION = "def/connector.json"
_DATA = f"node_modules/{bizc.SHARED}/definition.json"
# A connector's own program that plays its cases with two unpacked packages, OLD and NEW, and
# prints [[case, what differs], …] as JSON.
BEHAVIOUR = Path("tests", "conformance", "compare.py")
# The keys by which Studio identifies the connector, or runs it.
_IDENTITY = ("globalguid", "name", "foldername", "runtimeversion", "type")
_ACTION = ("guid", "actiontype", "contenttype", "resturl", "httpoperation", "useauthentication")


def read(path: Path) -> dict[str, bytes]:
    """Return the files of a .bizc. Raise InvalidPackage."""
    try:
        with zipfile.ZipFile(path) as archive:
            files = {name: archive.read(name) for name in archive.namelist()}
        json.loads(files[_DEFINITION])["version"]
    except (OSError, zipfile.BadZipFile, KeyError, ValueError, TypeError) as error:
        raise InvalidPackage(f"{path}: it can't be read as a .bizc ({error}).") from error
    return files


def version(files: Mapping[str, bytes]) -> str:
    return str(json.loads(files[_DEFINITION])["version"])


def compare(old: Mapping[str, bytes], new: Mapping[str, bytes]) -> list[Change]:
    """Return every difference between two packages' files, the most serious first."""
    before, after = (json.loads(files[_DEFINITION]) for files in (old, new))
    changes = [*_definition(before, after), *_codes(old, new)]
    for name in sorted((old.keys() | new.keys()) - {_DEFINITION}):
        if old.get(name) != new.get(name):
            what = "changed" if name in old and name in new else "added"
            changes.append(Change("patch", name, what if name in new else "removed"))
    return sorted(changes, key=lambda change: -LEVELS.index(change.level))


def behaviour(root: Path, old: Mapping[str, bytes], new: Mapping[str, bytes]) -> list[Change]:
    """Return where two packages' handlers behave differently in the connector's own cases.

    Return nothing where the connector has no such cases, or Node.js is not installed.
    """
    program = root / BEHAVIOUR
    scripts = [{n: c for n, c in files.items() if n.startswith(_RUN)} for files in (old, new)]
    if scripts[0] == scripts[1] or not program.is_file() or shutil.which("node") is None:
        return []
    with tempfile.TemporaryDirectory() as folder:
        for name, files in (("old", old), ("new", new)):
            bizc_try.unpack(files, Path(folder, name))
        ran = subprocess.run(  # noqa: S603
            [sys.executable, str(program), f"{folder}/old", f"{folder}/new"],
            cwd=root,
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
    if ran.returncode:
        raise InvalidPackage(f"{BEHAVIOUR.as_posix()}: {ran.stderr.strip()[-400:]}")
    return [Change("major", f"case {case}", what) for case, what in json.loads(ran.stdout)]


_RUN = ("actions", "auth/", "bizagiRouter.js", "node_modules/")


def _definition(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Change]:
    for key in _IDENTITY:
        if before[key] != after[key]:
            yield Change("major", f"{_DEFINITION}: {key}", "changed")
    for key in sorted(before.keys() | after.keys()):
        known = {*_IDENTITY, "version", "systemdefinition", "actions"}
        if key not in known and before.get(key) != after.get(key):
            yield Change("patch", f"{_DEFINITION}: {key}", "changed")
    for where, place in (("properties", "property"), ("authentications", "authentication")):
        old, new = (
            _properties(definition["systemdefinition"][where]) for definition in (before, after)
        )
        yield from _settings(place, old, new)
    yield from _actions(
        *(
            {action["name"]: action for action in definition["actions"]}
            for definition in (before, after)
        )
    )


def _properties(listed: Iterable[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    properties: dict[str, Mapping[str, Any]] = {}
    for entry in listed:
        if "authenticationtype" in entry:
            properties[f"({entry['authenticationtype']})"] = {"required": False}
            properties |= {inner["name"]: inner for inner in entry["properties"]}
        else:
            properties[entry["name"]] = entry
    return properties


def _settings(
    place: str, old: Mapping[str, Mapping[str, Any]], new: Mapping[str, Mapping[str, Any]]
) -> Iterator[Change]:
    for name in sorted(old.keys() | new.keys()):
        where = f"{place} {name}"
        if name not in new:
            yield Change("major", where, "removed")
        elif name not in old:
            required = bool(new[name]["required"])
            what = "added, and is required" if required else "added"
            yield Change("major" if required else "minor", where, what)
        else:
            if old[name]["required"] != new[name]["required"]:
                is_more = new[name]["required"]
                what = "is required now" if is_more else "is optional now"
                yield Change("major" if is_more else "minor", where, what)
            if old[name].get("datatype") != new[name].get("datatype"):
                yield Change("major", where, "has another datatype")
            if bool(old[name].get("passwordmode")) != bool(new[name].get("passwordmode")):
                yield Change("minor", where, "is now shown, or now hidden")


def _actions(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    for name in sorted(old.keys() | new.keys()):
        if name not in new:
            yield Change("major", f"action {name}", "removed")
        elif name not in old:
            yield Change("minor", f"action {name}", "added")
        else:
            for key in _ACTION:
                if old[name][key] != new[name][key]:
                    yield Change("major", f"action {name}: {key}", "changed")
            for key in ("displayName", "description"):
                if old[name][key] != new[name][key]:
                    yield Change("patch", f"action {name}: {key}", "changed")
            for key, is_input in (("xsdinput", True), ("xsdoutput", False)):
                before, after = _fields(old[name][key]), _fields(new[name][key])
                yield from _xsd(f"action {name}: {key}", before, after, is_input)


def _fields(encoded: str) -> dict[str, ET.Element]:
    """Return an XSD's elements by their path."""
    elements: dict[str, ET.Element] = {}

    def walk(element: ET.Element, path: str) -> None:
        for inner in element:
            if inner.tag == f"{_XS}element":
                place = f"{path}.{inner.get('name')}".lstrip(".")
                elements[place] = inner
                walk(inner, place)
            else:
                walk(inner, path)

    walk(ET.fromstring(base64.b64decode(encoded)), "")  # noqa: S314 - a package of our own
    return elements


def _xsd(
    place: str, old: Mapping[str, ET.Element], new: Mapping[str, ET.Element], is_input: bool
) -> Iterator[Change]:
    for name in sorted(old.keys() | new.keys()):
        where = f"{place}.{name}"
        if name not in new:
            yield Change("major", where, "removed")
            continue
        can_lack = new[name].get("minOccurs") == "0"
        if name not in old:
            yield Change("minor" if can_lack or not is_input else "major", where, "added")
            continue
        if old[name].get("type") != new[name].get("type"):
            what = f"was {old[name].get('type')}, is {new[name].get('type')}"
            yield Change("major", where, what)
        if old[name].get("maxOccurs") != new[name].get("maxOccurs"):
            yield Change("major", where, "was a list or is one now")
        for key, more, less in (
            ("minOccurs", "may be missing now", "must be there now"),
            ("nillable", "may be null now", "may not be null now"),
        ):
            could, can = (_allows(elements[name], key) for elements in (old, new))
            if could != can:
                # An input that may be missing breaks no process; such an output does.
                level = "minor" if can == is_input else "major"
                yield Change(level, where, more if can else less)


def _allows(element: ET.Element, key: str) -> bool:
    return element.get(key) == {"minOccurs": "0", "nillable": "true"}[key]


def _codes(old: Mapping[str, bytes], new: Mapping[str, bytes]) -> Iterator[Change]:
    """Compare the error codes: a process decides by them."""
    before, after = (
        set(json.loads(files.get(_DATA, b"{}")).get("codes", ())) for files in (old, new)
    )
    for code in sorted(before - after):
        yield Change("major", f"error code {code}", "removed")
    for code in sorted(after - before):
        yield Change("minor", f"error code {code}", "added")
