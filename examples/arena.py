"""Write notify_customer_arena.bpmn from notify_customer.bpmn: the same process for Spiff Arena.

Arena's result is the whole response, so a field is under ['body']. Its error has no field of ours
but those in the text `command_response_body`, and `status_code`: 409 for what may have been sent.
"""

import sys
from pathlib import Path

HERE = Path(__file__).parent
CHANGES = {
    "sms[&#x27;sid&#x27;]": "sms[&#x27;body&#x27;][&#x27;sid&#x27;]",
    "sms['status']": "sms['body']['status']",
    "sms_error['provider_code'] == '21608'": "'\"21608\"' in sms_error['command_response_body']",
    "sms_error['provider_code'] == '21610'": "'\"21610\"' in sms_error['command_response_body']",
    "sms_error['outcome'] != 'unknown'": "sms_error['status_code'] != 409",
}


def for_arena(drawing: str) -> str:
    """Return a drawing as Arena wants it. Raise ValueError where there is nothing to change."""
    for ours, arenas in CHANGES.items():
        if ours not in drawing:
            raise ValueError(f"the drawing does not have {ours}")
        drawing = drawing.replace(ours, arenas)
    return drawing


if __name__ == "__main__":
    text = for_arena((HERE / "notify_customer.bpmn").read_text("utf-8"))
    (HERE / "notify_customer_arena.bpmn").write_text(text, "utf-8")
    sys.stdout.write("examples/notify_customer_arena.bpmn\n")
