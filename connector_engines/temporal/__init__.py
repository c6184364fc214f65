"""Runs BPMN cases on a Temporal cluster: a case is a workflow, a service task an activity.

    client = await connect("127.0.0.1:7233")
    worker = Worker(client, task_queue="notes", connectors={"notes": load("…")}, settings={…})
    cases = Cases(client, task_queue="notes", connectors={"notes": load("…")})
    case = await cases.start("notify_customer.bpmn", {…}, id="order-4711")
    data = await case.result()

The rules of a case are in `connector_engines.bpmn`. Temporal keeps the history of a case, and gives
it the time and its identifiers.

workflow    a case: it uses only Temporal's clock and identifiers, and no network
activities  one call of a connector, in a worker
claims      records which call made which message
worker      runs the cases and calls of a task queue
cases       starts cases, shows them and lets people decide
payloads    the data in Temporal's history: encryption, large values
client      connects to the server
"""

import temporalio  # noqa: F401 - first, so that an import error names this package

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
