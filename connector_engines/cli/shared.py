"""What the commands share: which connectors there are, their settings, data from outside."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from connector_runtime import Connector
from connector_runtime.cli import Choice, choosing
from connector_runtime.errors import InvalidConfiguration, InvalidInput


def configured(command: Any) -> Any:
    """Add the options that say which connectors there are, and their settings."""
    command = click.option("--environment", help="Which environment of the file.")(command)
    command = click.option("--config", help="A YAML file with 'environments:'.")(command)
    return choosing(command)


def connectors(choice: Choice) -> dict[str, Connector]:
    """Load the chosen connectors, by their names."""
    loaded = choice.load()
    by_name = {connector.name: connector for connector in loaded}
    if len(by_name) < len(loaded):
        names = [connector.name for connector in loaded]
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidConfiguration(f"--connector: two of them are named '{twice}'.")
    return by_name


def settings_of(
    names: Iterable[str], config: str | None, environment: str | None
) -> dict[str, dict[str, Any]]:
    """Return each connector's settings: under its name in the environment, or all of it."""
    if config is None:
        if environment is not None:
            raise InvalidConfiguration("configuration: '--environment' needs '--config FILE'.")
        return {}
    from connector_runtime import environments

    return {**environments.of_each(config, environment, names)}


def data_of(text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    try:
        if text == "-":
            text = sys.stdin.read()
        elif text.startswith("@"):
            text = Path(text[1:]).read_text("utf-8")
        data = json.loads(text)
    except OSError as error:
        raise InvalidInput(f"the data can't be read: {error.strerror}.") from error
    except ValueError:  # not chained: it keeps the text, which may hold a number
        raise InvalidInput("the data is not valid JSON; give an object, @FILE or -.") from None
    if not isinstance(data, dict):
        raise InvalidInput("the data must be a JSON object.")
    return data


def unicode_shown() -> bool:
    return (sys.stdout.encoding or "").lower().startswith("utf")
