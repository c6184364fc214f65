"""The host of `bizagi_host.js` as a context manager, and the calls that Bizagi makes to it."""

from __future__ import annotations

import http.client
import json
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

_SCRIPT = Path(__file__).with_name("bizagi_host.js")
_START_SECONDS = 60


class Host:
    """A running host for the unpacked packages in a folder, with `workers` processes.

    `faults` lists forbidden things that connectors did, one line each. Raise RuntimeError where it
    does not start.
    """

    def __init__(
        self,
        connectors: Path,
        node: str = "node",
        workers: int = 2,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self._command = [node, str(_SCRIPT), "--connectors", str(connectors)]
        self._command += ["--port", "0", "--workers", str(workers)]
        self._env = env
        self.faults: list[str] = []
        self.port = 0

    def __enter__(self) -> Host:
        self._process = subprocess.Popen(  # noqa: S603
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            env=self._env,
        )
        self._reader = threading.Thread(target=self._read_faults, daemon=True)
        self._reader.start()
        assert self._process.stdout
        began = time.monotonic()
        stuck = threading.Timer(_START_SECONDS, self._process.kill)
        stuck.start()
        line = self._process.stdout.readline()
        stuck.cancel()
        if not line.startswith("listening on "):
            seconds = time.monotonic() - began
            self._stop()
            how = f"exit status {self._process.returncode} after {seconds:.0f} s"
            raise RuntimeError(f"the host does not start ({how}): {' '.join(self.faults) or line}")
        self.port = int(line.rpartition(":")[2])
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        assert self._process.stdin
        assert self._process.stdout
        assert self._process.stderr
        self._process.stdin.close()  # the host ends when its input is closed
        self._process.wait(timeout=_START_SECONDS)
        self._reader.join()
        self._process.stdout.close()
        self._process.stderr.close()

    def _read_faults(self) -> None:
        assert self._process.stderr
        for line in self._process.stderr:
            self.faults.append(line.rstrip("\n"))

    def post(self, what: str, call: Mapping[str, Any], seconds: float = 900) -> tuple[int, Any]:
        """POST to `/connector/<what>`; return the HTTP status and the decoded answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds)
        try:
            body = json.dumps({"controllerversion": "1", "authenticationtype": "custom", **call})
            headers = {"Content-Type": "application/json"}
            connection.request("POST", f"/connector/{what}", body, headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()


def globals_of(manifest: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings as Bizagi keeps them: all as text, in two groups."""
    parameters = {entry["name"] for entry in manifest["parameters"]}
    texts = {name: value if value is None else str(value) for name, value in settings.items()}
    return {
        "authdata": {name: text for name, text in texts.items() if name in parameters},
        "systemproperties": {n: text for n, text in texts.items() if n not in parameters},
        "projectname": "Tests",
    }
