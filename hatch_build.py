"""Puts the connector's files into the wheel, in the folder of `twilio_connector`.

A static list of them in pyproject.toml would copy them for editable installs too, where they would
go stale.
"""

from __future__ import annotations

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

CONTENTS = ("connector.json", "icon.png", "actions", "auth", "schemas")


class ConnectorFiles(BuildHookInterface):  # type: ignore[type-arg]
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Name the files for a wheel of the usual kind; `version` is "editable" for the other."""
        if version == "standard":
            files = {name: f"twilio_connector/{name}" for name in CONTENTS}
            build_data["force_include"].update(files)
