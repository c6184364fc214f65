"""Runs BPMN cases on a Temporal cluster: a case is a workflow, a service task an activity.

    client = await connect("127.0.0.1:7233")
    worker = Worker(client, task_queue="notes", connectors={"notes": load("…")}, settings={…})
    cases = Cases(client, task_queue="notes", connectors={"notes": load("…")})
    case = await cases.start("notify_customer.bpmn", {…}, id="order-4711")
    data = await case.result()

The rules of a case are those of `connector_engines.bpmn`. Temporal keeps what has happened, the
time and the identifiers.

workflow    a case: it has no clock, no network and no randomness but Temporal's
activities  one call of a connector, in a worker
worker      what serves a task queue
cases       starts cases, shows them and lets people decide
payloads    the data in Temporal's history: encryption, large values
client      connects to the server
"""

import temporalio  # noqa: F401 - first: where it is missing, its own extra is named

from connector_engines.bpmn import CaseStopped, InvalidProcess

from .cases import CaseHandle, Cases
from .client import connect
from .payloads import Encryption, Folder, converter
from .worker import Worker

__all__ = [
    "CaseHandle",
    "CaseStopped",
    "Cases",
    "Encryption",
    "Folder",
    "InvalidProcess",
    "Worker",
    "connect",
    "converter",
]
