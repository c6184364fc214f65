"""Settings and inputs: what counts as given, which value wins, and where a file keeps them."""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .errors import InvalidConfiguration
from .schema import Schema, plain

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_NUMBER = re.compile(r"-?[0-9]{1,300}(\.[0-9]{1,300})?")  # what is longer, nobody means


def is_given(value: Any) -> bool:
    """Tell whether a value counts: null, empty and blank text do not, as forms leave them."""
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
    properties = {}
    for entry in [*manifest["parameters"], *manifest["options"]]:
        facets = ("type", "description", "pattern", "minimum", "maximum", "default")
        properties[entry["name"]] = {key: entry[key] for key in facets if key in entry}
        if "mustBe" in entry:
            properties[entry["name"]]["x-mustBe"] = entry["mustBe"]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "additionalProperties": False,
        "required": [entry["name"] for entry in manifest["parameters"] if entry["required"]],
        "properties": properties,
    }


def check(settings: Mapping[str, Any] | None, schema: Schema) -> dict[str, Any]:
    """Return the settings with defaults filled in, or raise InvalidConfiguration with every fault.

    A number may come as text: configuration forms and environment variables know nothing else.
    """
    if not isinstance(settings, Mapping) and settings is not None:
        raise InvalidConfiguration("configuration: the settings must be a mapping of names.")
    checked = merge(settings or {}, {}, (), schema)
    for name, subschema in schema.document["properties"].items():
        value = checked.get(name)
        if subschema["type"] != "string" and isinstance(value, str):
            text = value.strip()
            if _NUMBER.fullmatch(text):
                checked[name] = float(text) if "." in text else int(text)
    problems = schema.problems(checked)
    if problems:
        problems = [
            f"{problem} (set it for this environment)"
            if problem.endswith("is required")
            else problem
            for problem in problems
        ]
        raise InvalidConfiguration(f"configuration: {'; '.join(problems)}.", problems=problems)
    return checked


def read(path: str | os.PathLike[str], environment: str | None = None) -> dict[str, Any]:
    """Read one environment's settings from a YAML file and fill in its ${VARIABLES}.

    The file maps `environments` to names and those to settings; the name may be left out where
    there is only one. Raise InvalidConfiguration, which never shows the file's contents.
    """
    import yaml  # only the command line reads files; an engine brings its own settings

    try:
        document = yaml.safe_load(Path(path).read_text("utf-8"))
    except OSError as error:
        raise InvalidConfiguration(
            f"configuration file '{path}' can't be read: {error.strerror}."
        ) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        # Not chained: YAML's own message quotes the line, which may hold a token.
        raise InvalidConfiguration(
            f"configuration file '{path}' is not valid YAML{where}."
        ) from None
    environments = document.get("environments") if isinstance(document, dict) else None
    if not isinstance(environments, dict) or not environments:
        raise InvalidConfiguration(
            f"configuration file '{path}' must be a mapping with 'environments:', and under it a "
            "mapping of settings for each environment, such as development, test and production."
        )
    names = ", ".join(map(str, environments))
    if environment is None:
        if len(environments) > 1:
            raise InvalidConfiguration(
                f"configuration file '{path}' has several environments; name one of: {names}."
            )
        environment = next(iter(environments))
    if environment not in environments:
        raise InvalidConfiguration(
            f"configuration file '{path}' has no environment '{environment}'. It has: {names}."
        )
    settings = environments[environment]
    if not isinstance(settings, dict):
        raise InvalidConfiguration(
            f"configuration file '{path}': environment '{environment}' must be a mapping."
        )
    return _filled(settings, environment)


def _filled(settings: dict[Any, Any], environment: str) -> dict[str, Any]:
    missing: list[str] = []

    def fill(match: re.Match[str]) -> str:
        if match[1] not in os.environ:
            missing.append(match[1])
        return os.environ.get(match[1], "")

    def filled_value(value: Any) -> Any:
        if isinstance(value, dict):  # an environment may hold one mapping for each connector
            return {name: filled_value(inner) for name, inner in value.items()}
        return _VARIABLE.sub(fill, value) if isinstance(value, str) else value

    filled = {name: filled_value(value) for name, value in settings.items()}
    if missing:
        problems = [f"the variable '{name}' is not set" for name in dict.fromkeys(missing)]
        raise InvalidConfiguration(
            f"configuration: environment '{environment}': {'; '.join(problems)}.",
            problems=problems,
        )
    return filled
