import json
import subprocess
import sys

import pytest
import requests
from SpiffWorkflow.bpmn import BpmnEvent, BpmnWorkflow
from SpiffWorkflow.bpmn.script_engine import PythonScriptEngine
from SpiffWorkflow.bpmn.specs.defaults import EndEvent
from SpiffWorkflow.spiff.parser import SpiffBpmnParser
from SpiffWorkflow.spiff.specs.event_definitions import ErrorEventDefinition
from SpiffWorkflow.util.task import TaskState

from connector_engines.proxy import Proxy


def test_arenas_process_is_the_one_that_the_script_writes(root, tmp_path):
    for name in ("arena.py", "notify_customer.bpmn"):
        (tmp_path / name).write_bytes((root / "examples" / name).read_bytes())
    subprocess.run([sys.executable, tmp_path / "arena.py"], check=True, timeout=60)
    written = (tmp_path / "notify_customer_arena.bpmn").read_text("utf-8")
    assert written == (root / "examples" / "notify_customer_arena.bpmn").read_text("utf-8")
    assert "sms['status']" not in written
    assert "sms_error['provider_code']" not in written


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        (None, "delivered"),
        (("error", {"status": 400, "code": 21608}), "number not verified"),
        (("error", {"status": 400, "code": 21610}), "opted out"),
        (("error", {"status": 400, "code": 21211}), "refused"),
        (("throttle", {"times": None}), "Twilio unavailable"),
        (("withhold", {}), "may have been sent"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_arenas_engine_takes_one_way_for_each_error(
    root, tmp_path, sandbox, twilio_folder, fault, outcome
):
    settings = {**sandbox.settings, "maxAttempts": 1, "resolveSeconds": 0}
    if fault and fault[0] == "withhold":
        settings["timeoutSeconds"] = 0.5
    if fault:
        sandbox.fail(fault[0], method="POST", **fault[1])
    drawing = (root / "examples/notify_customer_arena.bpmn").read_text("utf-8")
    parser = SpiffBpmnParser()
    parser.add_bpmn_str(drawing.replace("poll_seconds = 5", "poll_seconds = 0.1").encode())
    connectors = {"twilio": twilio_folder}
    with Proxy(connectors, {"twilio": settings}, ledger=tmp_path / "ledger.sqlite") as proxy:
        case = BpmnWorkflow(parser.get_spec("notify_customer"), script_engine=AsArena(proxy.url))
        case.task_tree.data["customer"] = {"name": "Ana", "phone": "+14155550123"}
        while not case.completed:
            case.do_engine_steps()
            sandbox.advance(60)
    ended = [
        task.task_spec.name
        for task in case.get_tasks(state=TaskState.COMPLETED)
        if isinstance(task.task_spec, EndEvent)
    ]
    assert (case.data["outcome"], len(ended)) == (outcome, 1), ended


class AsArena(PythonScriptEngine):
    """Calls services as Spiff Arena does: what it posts, returns, and makes of an error."""

    def __init__(self, url):
        super().__init__()
        self.url = url

    def call_service(self, task, operation_name, operation_params):
        inputs = {name: given["value"] for name, given in operation_params.items()}
        inputs |= {"spiff__task_id": str(task.id), "spiff__task_data": task.data}
        answer = requests.post(f"{self.url}/v1/do/{operation_name}", json=inputs, timeout=45).json()
        response, error = answer["command_response"], answer["error"]
        if error:
            told = {
                **error,
                "operator_identifier": operation_name,
                "status_code": response["http_status"],
                "command_response_body": json.dumps(response),
            }
            event = ErrorEventDefinition(name=error["error_code"], code=error["error_code"])
            task.workflow.catch(BpmnEvent(event, payload=told))
        return json.dumps(response)
