"""What a connector promises to the processes that use it, and how two versions' promises differ.

A package of the same major version replaces the installed one in place, so whatever could break a
process that was drawn for the old one is a major change.
A change that can't be judged counts as major too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from connector_runtime import archive
from connector_runtime.errors import InvalidPackage

from . import package

LEVELS = ("none", "patch", "minor", "major")
# Keywords where a smaller value accepts more, and those where a larger value accepts more.
_LOWER_BOUNDS = {"minimum", "minLength", "minItems"}
_UPPER_BOUNDS = {"maximum", "maxLength", "maxItems"}
_BOUNDS = sorted(_LOWER_BOUNDS | _UPPER_BOUNDS)
_NO_BREAK = r"(?!\n)"  # ends a pattern that refuses a trailing line break
_JSON_TYPES = {"string", "number", "integer", "boolean", "object", "array", "null"}
# Keywords that are only text for people, and those that are compared; others can't be judged.
_WORDS = {"$schema", "$comment", "title", "description", "example", "examples", "displayName"}
_WORDS |= {"mustBe", "x-mustBe"}
_COMPARED = {"name", "type", "enum", "pattern", "default", "properties", "required", "items"}
_COMPARED |= {"additionalProperties", "secret", "global", *_BOUNDS}


class Change(NamedTuple):
    """One difference: how much of a version step it asks for, where, and what it is."""

    level: str
    place: str
    what: str

    def __str__(self) -> str:
        return f"{self.level:<6} {self.place}: {self.what}"


def read(path: Path) -> dict[str, bytes]:
    """Return the files of a package or of a source tree. Raise InvalidPackage."""
    if not path.is_dir():
        return archive.read(path)
    try:
        return package.contents(path)
    except OSError as error:
        raise InvalidPackage(f"{path}: it is no connector's source tree ({error}).") from error


def compare(old: Mapping[str, bytes], new: Mapping[str, bytes]) -> list[Change]:
    """Return every difference between two packages' files, the most serious first."""
    before, after = _decoded(old), _decoded(new)
    try:
        changes = list(_manifest(before, after))
    except (AttributeError, KeyError, TypeError, RecursionError) as error:  # of another form
        raise InvalidPackage(f"connector.json: it can't be compared ({error!r}).") from error
    compared = {package.MANIFEST}
    for name in sorted((old.keys() | new.keys()) - compared):
        if old.get(name) != new.get(name):
            if name not in new:
                what = "removed"
            elif name in old:
                what = "changed"
            else:
                what = "added"
            changes.append(Change("patch", name, what))
    return sorted(changes, key=lambda change: -LEVELS.index(change.level))


def level(changes: Iterable[Change]) -> str:
    """Return the version step that the changes ask for: "none" when nothing differs at all."""
    return max((change.level for change in changes), key=LEVELS.index, default="none")


def version(files: Mapping[str, bytes]) -> str:
    return str(_decoded(files)["connector.json"]["version"])


def is_enough(old: str, new: str, step: str) -> bool:
    """Tell whether a version may follow another, given the step that the changes ask for."""
    if step == "none" and old == new:
        return True
    before, after = _precedence(old), _precedence(new)
    if step == "major":
        return after[:1] > before[:1]
    if step == "minor":
        return after[:2] > before[:2]  # major and minor
    return after > before


def least(old: str, step: str) -> str:
    """Return the smallest version that may follow."""
    major, minor, patch, is_release, _ = _precedence(old)
    if step == "none":
        return old
    if step == "major":
        return f"{major + 1}.0.0"
    if step == "minor":
        return f"{major}.{minor + 1}.0"
    # The release of a pre-release has the same numbers.
    return f"{major}.{minor}.{patch + 1 if is_release else patch}"


def _precedence(text: str) -> tuple[Any, ...]:
    """Order as semver.org does: a pre-release comes before its release, numbers before letters."""
    core, _, suffix = text.partition("-")
    major, minor, patch = map(int, core.split("."))
    parts = suffix.split(".") if suffix else []
    ranks = tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts)
    return (major, minor, patch, not suffix, ranks)


def _decoded(files: Mapping[str, bytes]) -> dict[str, Any]:
    try:
        documents = {
            name: json.loads(content) for name, content in files.items() if name.endswith(".json")
        }
        for action in documents["connector.json"]["actions"]:
            _ = documents[action["input"]]["properties"], documents[action["output"]]["properties"]
        form = r"[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?"
        if not re.fullmatch(form, documents["connector.json"]["version"]):
            raise ValueError("its version is no semantic version")
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise InvalidPackage(f"connector.json: it can't be compared ({error}).") from error
    return documents


def _manifest(before: dict[str, Any], after: dict[str, Any]) -> Iterator[Change]:
    old, new = before["connector.json"], after["connector.json"]
    for key in ("guid", "name", "manifestVersion"):
        if old[key] != new[key]:
            yield Change("major", key, "it is now another connector")
    for listing, kind in (("parameters", "parameter"), ("options", "option")):
        yield from _settings(kind, _by_name(old[listing]), _by_name(new[listing]))
    for name, action, other in _pairs(_by_name(old["actions"]), _by_name(new["actions"])):
        if other is None:
            yield Change("major", name, "the action is gone")
        elif action is None:
            yield Change("minor", name, "a new action")
        else:
            yield from _action(name, action, other, before, after)


def _by_name(entries: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {entry["name"]: entry for entry in entries}


def _pairs(
    old: Mapping[str, Any], new: Mapping[str, Any]
) -> Iterator[tuple[str, Any | None, Any | None]]:
    for name in [*old, *(name for name in new if name not in old)]:
        yield name, old.get(name), new.get(name)


def _settings(
    kind: str, old: Mapping[str, dict[str, Any]], new: Mapping[str, dict[str, Any]]
) -> Iterator[Change]:
    for name, entry, other in _pairs(old, new):
        if other is None:
            yield Change("major", name, f"the {kind} is gone")
        elif entry is None:
            if other.get("required"):
                yield Change("major", name, f"a new {kind} that every environment must set")
            else:
                yield Change("minor", name, f"a new {kind}")
        else:
            if other.get("required") and not entry.get("required"):
                yield Change("major", name, f"the {kind} is newly required")
            if entry.get("required") and not other.get("required"):
                yield Change("minor", name, f"the {kind} is no longer required")
            if entry.get("global") and not other.get("global"):
                yield Change("major", name, "inputs no longer fall back to it")
            if other.get("global") and not entry.get("global"):
                yield Change("minor", name, "it is newly global")
            if entry.get("secret") and not other.get("secret"):
                yield Change("major", name, "it is no longer kept secret")
            if other.get("secret") and not entry.get("secret"):
                yield Change("minor", name, "it is newly secret")
            yield from _taken(name, entry, other)


def _action(
    name: str,
    old: dict[str, Any],
    new: dict[str, Any],
    before: dict[str, Any],
    after: dict[str, Any],
) -> Iterator[Change]:
    for lost in sorted(set(old["globals"]) - set(new["globals"])):
        yield Change("major", name, f"its input no longer falls back to the parameter '{lost}'")
    for gained in sorted(set(new["globals"]) - set(old["globals"])):
        yield Change("minor", name, f"its input falls back to the parameter '{gained}'")
    for key in ("effect", "repeatable"):
        if old[key] != new[key]:
            yield Change("major", name, f"'{key}' is {new[key]}, was {old[key]}: engines go by it")
    if old.get("streams") != new.get("streams"):
        level_of_it = "major" if old.get("streams") else "minor"
        yield Change(level_of_it, name, "'streams' differs")
    yield from _taken(f"{name} input", before[old["input"]], after[new["input"]])
    yield from _given(f"{name} output", before[old["output"]], after[new["output"]])


def _taken(place: str, old: dict[str, Any], new: dict[str, Any]) -> Iterator[Change]:
    """Compare inputs and settings: every value that was accepted must still be accepted."""
    lost, gained = _types(old) - _types(new), _types(new) - _types(old)
    if lost:
        yield Change("major", place, f"it no longer takes {_listed(lost)}")
    if gained:
        yield Change("minor", place, f"it takes {_listed(gained)} too")
    for facet in _BOUNDS:
        if old.get(facet) != new.get(facet):
            wider = _lets_more_pass(facet, old.get(facet), new.get(facet))
            yield _bound("minor" if wider else "major", place, facet, old, new)
    yield from _choices(place, old.get("enum"), new.get("enum"), taken=True)
    yield from _unknown(place, old, new)
    if old.get("pattern") != new.get("pattern"):
        wider = "pattern" not in new or _is_wider(old.get("pattern"), new["pattern"])
        what = "its pattern takes more" if wider else "its pattern may refuse what it took before"
        yield Change("minor" if wider else "major", place, what)
    if old.get("default") != new.get("default"):
        yield Change("minor", place, "its default differs")
    took_unknown, takes_unknown = _allows_unknown(old), _allows_unknown(new)
    if took_unknown and not takes_unknown:
        yield Change("major", place, "it no longer takes unknown fields")
    if takes_unknown and not took_unknown:
        yield Change("minor", place, "it takes unknown fields too")
    fields, others = old.get("properties", {}), new.get("properties", {})
    for name in sorted(_required(new) - _required(old) - {*fields, *others}):
        yield Change("major", f"{place}.{name}", "it is newly required, and not declared")
    for name, field, other in _pairs(fields, others):
        where = f"{place}.{name}"
        needed = name in new.get("required", ()) and "default" not in (other or {})
        was_needed = name in old.get("required", ()) and "default" not in (field or {})
        if other is None:
            yield Change("major", where, "the input is gone")
        elif field is None:
            what = "a new input that is required" if needed else "a new input"
            yield Change("major" if needed else "minor", where, what)
        else:
            if needed and not was_needed:
                yield Change("major", where, "it is newly required")
            if was_needed and not needed:
                yield Change("minor", where, "it is no longer required")
            yield from _taken(where, field, other)
    if "items" in old or "items" in new:
        yield from _taken(f"{place}[]", old.get("items", {}), new.get("items", {}))


def _given(place: str, old: dict[str, Any], new: dict[str, Any]) -> Iterator[Change]:
    """Compare outputs: every field must still come, in the same type, as processes use them."""
    lost, gained = _types(old) - _types(new), _types(new) - _types(old)
    if gained:
        yield Change("major", place, f"it may be {_listed(gained)} now")
    if lost:
        # A type that no longer comes breaks no process, unless another one comes in its place.
        yield Change("major" if gained else "minor", place, f"it is never {_listed(lost)} now")
    for facet in _BOUNDS:
        if old.get(facet) != new.get(facet):
            wider = _lets_more_pass(facet, old.get(facet), new.get(facet))
            yield _bound("major" if wider else "minor", place, facet, old, new)
    yield from _choices(place, old.get("enum"), new.get("enum"), taken=False)
    yield from _unknown(place, old, new)
    if old.get("pattern") != new.get("pattern"):
        changed = "pattern" in old
        yield Change("major" if changed else "minor", place, "the form of its text differs")
    if _allows_unknown(new) and not _allows_unknown(old):
        yield Change("minor", place, "it may hold unknown fields now")
    fields, others = old.get("properties", {}), new.get("properties", {})
    for name, field, other in _pairs(fields, others):
        where = f"{place}.{name}"
        if other is None:
            yield Change("major", where, "the output is gone")
        elif field is None:
            yield Change("minor", where, "a new output")
        else:
            if name in old.get("required", ()) and name not in new.get("required", ()):
                yield Change("major", where, "it may be missing now")
            yield from _given(where, field, other)
    if "items" in old or "items" in new:
        yield from _given(f"{place}[]", old.get("items", {}), new.get("items", {}))


def _required(schema: Mapping[str, Any]) -> set[str]:
    """Return the fields that a schema requires; of a setting, `required` says something else."""
    declared = schema.get("required")
    return set(declared) if isinstance(declared, list) else set()


def _allows_unknown(schema: Mapping[str, Any]) -> bool:
    return schema.get("additionalProperties") is not False


def _types(schema: Mapping[str, Any]) -> set[str]:
    """Return the types that a schema accepts; "number" includes "integer"."""
    declared = schema.get("type", _JSON_TYPES)
    kinds = {declared} if isinstance(declared, str) else set(declared)
    return kinds | {"integer"} if "number" in kinds else kinds


def _listed(kinds: Iterable[str]) -> str:
    return " or ".join(sorted(kinds))


def _lets_more_pass(facet: str, old: Any, new: Any) -> bool:
    """Tell whether a changed bound accepts more values than before; None is no bound."""
    if new is None:
        return True
    if old is None:
        return False
    return bool(new < old if facet in _LOWER_BOUNDS else new > old)


def _bound(
    level: str, place: str, facet: str, old: Mapping[str, Any], new: Mapping[str, Any]
) -> Change:
    return Change(level, place, f"'{facet}' is {new.get(facet)}, was {old.get(facet)}")


def _choices(
    place: str, old: list[Any] | None, new: list[Any] | None, taken: bool
) -> Iterator[Change]:
    """Compare enumerations; None means that every value is accepted.

    An input must still accept all old values; an output must have no new ones.
    """
    if old == new:
        return
    must_all_be_in, allowed = (old, new) if taken else (new, old)
    if allowed is None:
        broken = False
    elif must_all_be_in is None:
        broken = True
    else:
        broken = any(value not in allowed for value in must_all_be_in)
    yield Change("major" if broken else "minor", place, f"'enum' is {new}, was {old}")


def _unknown(place: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    """Report keywords that nothing here can judge, such as 'const' or 'anyOf'."""
    for key in sorted((old.keys() | new.keys()) - _COMPARED - _WORDS):
        if old.get(key) != new.get(key):
            yield Change("major", place, f"'{key}' differs, which may break processes")


def _is_wider(old: str | None, new: str) -> bool:
    """Tell whether a pattern only gained alternatives: ^(a|b)$ became ^(a|c|b)$."""
    if old is None or (new.endswith(_NO_BREAK) and not old.endswith(_NO_BREAK)):
        return False
    before, after = _alternatives(old), _alternatives(new)
    return bool(before) and bool(after) and before <= after


def _alternatives(pattern: str) -> set[str]:
    """Return the alternatives of a pattern that is one group between ^ and $, else nothing."""
    match = re.fullmatch(r"\^\((?!\?)(.*)\)\$(?:\(\?!\\n\))?", pattern, re.DOTALL)
    if not match:
        return set()
    alternatives, depth, start, inside_class, text = [], 0, 0, False, match[1]
    place = 0
    while place < len(text):
        letter = text[place]
        if letter == "\\":
            place += 1
        elif inside_class:
            inside_class = letter != "]"
        elif letter == "[":
            inside_class = True
        elif letter in "()":
            depth += 1 if letter == "(" else -1
            if depth < 0:
                return set()  # the outer brackets are not one group
        elif letter == "|" and not depth:
            alternatives.append(text[start:place])
            start = place + 1
        place += 1
    return {*alternatives, text[start:]}
