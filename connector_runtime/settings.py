"""Settings and inputs: which values count as given, which one is used, what it must be."""

from __future__ import annotations

import copy
import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any

from .errors import InvalidConfiguration
from .schema import Schema, plain

log = logging.getLogger("connector_runtime")

WRITTEN_FOR = "connectorVersion"  # the one name that no connector may declare itself
_NUMBER = re.compile(r"-?[0-9]{1,300}(\.[0-9]{1,300})?")  # a longer number is a mistake
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_PART = r"(0|[1-9][0-9]{0,8})"
_VERSION = rf"^{_PART}\.{_PART}\.{_PART}(-[0-9A-Za-z.-]+)?$(?!\n)"


class Settings(dict[str, Any]):
    """Settings that were read from a file, and where in it, for messages."""

    where = "configuration"


class Unset(str):
    """Blank text in place of a value whose ${VARIABLE} is not set; `variable` is its name.

    Blank text counts as not given, so it is a fault only where something must be given.
    """

    variable = ""


def is_given(value: Any) -> bool:
    """Tell whether a value counts as given: null, empty and blank text (as in forms) do not."""
    return value is not None and not (isinstance(value, str) and not value.strip())


def merge(
    inputs: Mapping[str, Any], parameters: Mapping[str, Any], names: Sequence[str], schema: Schema
) -> dict[str, Any]:
    """Return an action's input: its own values, then the global `names`, then schema defaults.

    Defaults come last, or they would overwrite a global that was set. Unknown names are kept, for
    validation to report. The arguments stay as they are.
    """
    known = schema.document["properties"]
    inputs = {plain(name): plain(value) for name, value in inputs.items()}
    merged = {name: value for name, value in inputs.items() if name not in known or is_given(value)}
    for name in names:
        if name not in merged and is_given(parameters.get(name)):
            merged[name] = parameters[name]
    for name, subschema in known.items():
        if name not in merged and "default" in subschema:
            merged[name] = copy.deepcopy(subschema["default"])
    return merged


def settings_schema(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Derive from the manifest the schema of all parameters and options together."""
    properties: dict[str, Any] = {}
    for entry in [*manifest["parameters"], *manifest["options"]]:
        facets = ("type", "description", "pattern", "minimum", "maximum", "default")
        properties[entry["name"]] = {key: entry[key] for key in facets if key in entry}
        if "mustBe" in entry:
            properties[entry["name"]]["x-mustBe"] = entry["mustBe"]
    properties[WRITTEN_FOR] = {
        "type": "string",
        "description": "The connector's version that these settings were written for.",
        "pattern": _VERSION,
        "x-mustBe": "a version, such as 1.0.0",
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "additionalProperties": False,
        "required": [entry["name"] for entry in manifest["parameters"] if entry["required"]],
        "properties": properties,
        "x-connector": {"name": manifest["name"], "version": manifest["version"]},
        "x-options": [entry["name"] for entry in manifest["options"]],
    }


def check(settings: Mapping[str, Any] | None, schema: Schema) -> dict[str, Any]:
    """Return the settings with defaults filled in, or raise InvalidConfiguration with every fault.

    Numbers, true and false may come as text: configuration forms and environment variables know
    nothing else. Where `connectorVersion` says that the settings were written for a later version
    than this one, names that are unknown here are left out with a warning in the log.
    """
    if not isinstance(settings, Mapping) and settings is not None:
        raise InvalidConfiguration("configuration: the settings must be a mapping of names.")
    checked = merge(settings or {}, {}, (), schema)
    for name, subschema in schema.document["properties"].items():
        if name in checked:
            checked[name] = _from_text(checked[name], subschema["type"])
    _leave_out_later_names(checked, schema)
    problems = [_hint(problem, settings or {}) for problem in schema.problems(_shown(checked))]
    options = schema.document.get("x-options", ())
    problems += [
        f"'{name}': the variable '{value.variable}' is not set"
        for name, value in (settings or {}).items()
        if name in options and isinstance(value, Unset)
    ]
    if problems:
        where = getattr(settings, "where", "configuration")
        raise InvalidConfiguration(f"{where}: {'; '.join(problems)}.", problems=problems)
    checked.pop(WRITTEN_FOR, None)
    return checked


def _from_text(value: Any, kind: str) -> Any:
    """Return a number, true or false that text stands for; any other value as it is."""
    text = value.strip() if isinstance(value, str) else ""
    if kind in ("number", "integer") and _NUMBER.fullmatch(text):
        return float(text) if "." in text else int(text)
    if kind == "boolean" and text.lower() in ("true", "false"):
        return text.lower() == "true"
    return value


def _leave_out_later_names(checked: dict[str, Any], schema: Schema) -> None:
    """Remove settings that only a later version knows, and log a warning for each."""
    this = schema.document.get("x-connector", {"name": "the connector", "version": "0.0.0"})
    written_for = checked.get(WRITTEN_FOR)
    if not isinstance(written_for, str) or not re.fullmatch(_VERSION, written_for):
        return
    if _numbers(written_for) <= _numbers(this["version"]):
        return
    for name in sorted(checked.keys() - schema.document["properties"].keys(), key=str):
        del checked[name]
        log.warning(
            "configuration: '%s' is not known to %s %s and is left out; the settings were written "
            "for version %s.",
            name if _NAME.fullmatch(str(name)) else "(a name of another form)",
            this["name"],
            this["version"],
            written_for,
        )


def _numbers(version: str) -> list[int]:
    return [int(number) for number in version.partition("-")[0].split(".")]


def _shown(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings with each name that can't be one hidden: it may be a value, as in `a:b`.

    `authToken:x` without a space is one name to YAML.
    """
    return {
        name if not isinstance(name, str) or _NAME.fullmatch(name) else _hidden(name): value
        for name, value in settings.items()
    }


def _hidden(name: str) -> str:
    before = name.partition(":")[0]
    return f"{before}: (a space is missing)" if _NAME.fullmatch(before) else "(no name)"


def _hint(problem: str, settings: Mapping[str, Any]) -> str:
    """Add to the fault of a required setting why it has no value."""
    if not problem.endswith("is required"):
        return problem
    value = settings.get(problem.split("'")[1])
    if isinstance(value, Unset):
        return f"{problem} (the variable '{value.variable}' is not set)"
    return f"{problem} (set it for this environment)"
