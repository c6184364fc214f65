"""Says in the log, when a server starts, what is wrong with the set-up of its environments."""

from __future__ import annotations

import logging
import threading
import traceback
from collections.abc import Mapping
from typing import Any

from connector_runtime import Connector, ConnectorError

log = logging.getLogger("connector_engines")


def check(
    connectors: Mapping[str, Connector], settings: Mapping[str, Mapping[str, Any]]
) -> threading.Thread:
    """Check each connector's environment, and log what fails or is not known.

    It runs in a thread that nothing waits for, so the server starts even if the service can't be
    reached yet. The log gets no secret, number or balance.
    """

    def check_all() -> None:
        for name, connector in connectors.items():
            _check(name, connector, settings.get(name))

    thread = threading.Thread(target=check_all, name="connector-startup", daemon=True)
    thread.start()
    return thread


def _check(name: str, connector: Connector, settings: Mapping[str, Any] | None) -> None:
    try:
        with connector.connect(settings) as connection:
            findings = connection.check()
    except ConnectorError as error:
        log.warning("%s set-up: it can't be checked: %s", name, error)
        return
    except Exception as fault:  # noqa: BLE001 - a connector's code may raise anything
        # Do not log its text: it may hold a number or a secret.
        places = "".join(traceback.format_tb(fault.__traceback__))
        log.error("%s set-up: unexpected fault\n%s%s", name, places, type(fault).__name__)
        return
    for finding in findings:
        if finding.verdict != "holds":
            level = logging.WARNING if finding.verdict == "fails" else logging.INFO
            remedy = f" {finding.remedy}" if finding.remedy else ""
            log.log(level, "%s set-up: %s: %s%s", name, finding.title, finding.detail, remedy)
    failing = sum(finding.verdict == "fails" for finding in findings)
    log.info("%s set-up: %d of %d checks fail", name, failing, len(findings))
