"""Run an action of the .bizc in the host that the tests use, as Bizagi would."""

from __future__ import annotations

import http.client
import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import bizagi_host, bizc
from .making import Refused


def attempt(
    root: Path, action: str, inputs: Mapping[str, Any], settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Unpack the package that this source tree makes, run an action, and return the envelope.

    `action` is an action's name in either spelling, or "authenticator". Raise Refused where there
    is no Node.js, or the connector did something that is forbidden.
    """
    node = shutil.which("node")
    if node is None:
        raise Refused("Node.js is not installed here, and Bizagi runs connectors on it.")
    manifest = json.loads((root / "connector.json").read_bytes())
    call = {
        "actionname": bizc.dash_case(action),
        "globals": json.dumps(bizagi_host.globals_of(manifest, settings)),
        "data": json.dumps({"inputs": {"input": inputs}}),
    }
    what = "authenticator" if action == "authenticator" else "invokeCustomAction"
    with tempfile.TemporaryDirectory() as folder:
        unpack(bizc.contents(root), Path(folder))
        try:
            with bizagi_host.Host(Path(folder), node, workers=1) as host:
                status, envelope = host.post(what, call)
        except (ConnectionError, http.client.HTTPException) as error:
            raise Refused("the connector ended the host's process.") from error
        if status != 200 or host.faults:
            raise Refused("; ".join(host.faults) or str(envelope))
    return dict(envelope)


def unpack(files: Mapping[str, bytes], folder: Path) -> None:
    """Write a package's files into a folder."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
