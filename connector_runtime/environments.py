"""The YAML file in which the command line finds each environment's settings."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from .errors import InvalidConfiguration
from .settings import Settings, Unset

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_UNSPACED = re.compile(r"\s*([A-Za-z][A-Za-z0-9_]*):\S")


def read(path: str | os.PathLike[str], environment: str | None = None) -> Settings:
    """Read one environment's settings from a YAML file and fill in its ${VARIABLES}.

    The file maps `environments` to names and those to settings; the name may be left out where
    there is only one. A value whose variable is not set counts as not given. Raise
    InvalidConfiguration, which never shows a value that is in the file.
    """
    shown = f"configuration file '{path}'"
    document = _document(path, shown)
    environments = document.get("environments") if isinstance(document, dict) else None
    if not isinstance(environments, dict) or not environments:
        raise InvalidConfiguration(
            f"{shown} must be a mapping with 'environments:', and under it a mapping of settings "
            "for each environment, such as development, test and production."
        )
    for name in environments:
        if not isinstance(name, str):
            raise InvalidConfiguration(
                f"{shown}: an environment's name must be text: put {name} in quotes."
            )
    names = ", ".join(environments)
    if environment is None:
        if len(environments) > 1:
            raise InvalidConfiguration(f"{shown} has several environments; name one of: {names}.")
        environment = next(iter(environments))
    if environment not in environments:
        raise InvalidConfiguration(f"{shown} has no environment '{environment}'. It has: {names}.")
    settings = environments[environment]
    where = f"{shown}, environment '{environment}'"
    if not isinstance(settings, dict):
        raise InvalidConfiguration(
            f"{where}: it must be a mapping of settings, with a space after each colon, such as "
            "'timeoutSeconds: 10'."
        )
    return _filled(settings, where)


def of_each(
    path: str | os.PathLike[str], environment: str | None, connectors: Iterable[str]
) -> dict[str, Settings]:
    """Read the settings of each of these connectors, by its name.

    An environment holds one mapping for each connector, under its name; where there is only one
    connector, the environment may hold its settings themselves. Raise InvalidConfiguration.
    """
    settings = read(path, environment)
    names = list(connectors)
    if not any(isinstance(value, dict) or name in names for name, value in settings.items()):
        if len(names) > 1:
            raise InvalidConfiguration(
                f"{settings.where}: with several connectors, it must hold one mapping for each: "
                f"{', '.join(names)}."
            )
        return dict.fromkeys(names, settings)
    by_connector = {}
    for name in names:
        own = settings.get(name)
        if own is None:
            own = Settings()
            own.where = f"{settings.where}, '{name}'"
        if not isinstance(own, Settings):
            raise InvalidConfiguration(
                f"{settings.where}: '{name}' must be a mapping of its settings."
            )
        by_connector[name] = own
    return by_connector


def _filled(settings: dict[Any, Any], where: str) -> Settings:
    """Return the settings with their variables; an inner mapping is those of one connector."""
    filled = Settings()
    filled.where = where
    for name, value in settings.items():
        if isinstance(value, dict):
            filled[name] = _filled(value, f"{where}, '{name}'")
        elif isinstance(value, str):
            filled[name] = _filled_text(value)
        else:
            filled[name] = value
    return filled


def _filled_text(text: str) -> str:
    for variable in _VARIABLE.findall(text):
        if variable not in os.environ:
            unset = Unset()
            unset.variable = variable
            return unset
    return _VARIABLE.sub(lambda match: os.environ[match[1]], text)


class _Loader(yaml.SafeLoader):
    """Refuses a key that is declared twice, where YAML would use the last one without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        declared = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                if key.value in declared:
                    raise _DeclaredTwice(None, None, key.value, key.start_mark)
                declared.add(key.value)
        return super().construct_mapping(node, deep)


class _DeclaredTwice(yaml.MarkedYAMLError):
    pass


def _document(path: str | os.PathLike[str], shown: str) -> Any:
    """Return what a YAML file holds. What goes wrong in it is not chained: it quotes the file."""
    try:
        content = Path(path).expanduser().read_bytes()
    except (OSError, RuntimeError) as error:  # RuntimeError: there is no home for "~"
        why = getattr(error, "strerror", None) or error
        raise InvalidConfiguration(f"{shown} can't be read: {why}.") from error
    try:
        text = content.decode("utf-8-sig")
        return yaml.load(text, _Loader)  # noqa: S506 - it is a SafeLoader
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        problem = f"is not UTF-8 text (line {line}): save it as UTF-8"
    except yaml.MarkedYAMLError as error:
        problem = _explained(error, text)
    except RecursionError:
        problem = "is nested too deeply"
    except (yaml.YAMLError, ValueError):  # a forbidden character, or an impossible date
        problem = "is not valid YAML: put texts with special characters, and dates, in quotes"
    raise InvalidConfiguration(f"{shown} {problem}.")


def _explained(error: yaml.MarkedYAMLError, text: str) -> str:
    """Say where the file breaks YAML's rules and, for common faults, what to do."""
    mark = error.problem_mark
    if mark is None:
        return "is not valid YAML"
    where = f"line {mark.line + 1}, column {mark.column + 1}"
    if isinstance(error, _DeclaredTwice):
        return f"declares '{error.problem}' twice, again at {where}: keep one"
    lines = text.split("\n")
    line = lines[mark.line] if mark.line < len(lines) else ""
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return f"is not valid YAML at {where}: indent with spaces, not with a tab"
    # The scanner notices a missing colon only on the line after it.
    for number in (mark.line, mark.line + 1):
        unspaced = _UNSPACED.match(lines[number - 1]) if 0 < number <= len(lines) else None
        if unspaced:
            return f"is not valid YAML at line {number}: put a space after '{unspaced[1]}:'"
    return f"is not valid YAML at {where}"
