"""Write notify_customer_arena.bpmn from notify_customer.bpmn: the same process for Spiff Arena.

In Arena, a result is the whole response, so its fields are under ['body']. An error has only the
text `command_response_body`, which contains the connector's error, and `status_code`: 409 if the
message may have been sent. If two boundary events match an error, one by its code and one for all
errors, Arena follows both. So this drawing has only the second one, and a gateway after it that
checks the code.
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
    """    <bpmn:boundaryEvent id="send_refused" name="Refused" attachedToRef="send_sms">
      <bpmn:outgoing>send_refused_to_why</bpmn:outgoing>
      <bpmn:errorEventDefinition id="send_refused_error" errorRef="refused_error" />
    </bpmn:boundaryEvent>
""": "",
    """  <bpmn:error id="refused_error" name="Refused by Twilio" errorCode="REFUSED">
    <bpmn:extensionElements>
      <spiffworkflow:variableName>sms_error</spiffworkflow:variableName>
    </bpmn:extensionElements>
  </bpmn:error>
""": "",
    """      <bpmndi:BPMNShape id="send_refused_shape" bpmnElement="send_refused">
        <dc:Bounds x="412" y="222" width="36" height="36" />
        <bpmndi:BPMNLabel>
          <dc:Bounds x="350" y="258" width="64" height="28" />
        </bpmndi:BPMNLabel>
      </bpmndi:BPMNShape>
""": "",
    'name="Any other error"': 'name="Any error"',
    'name="May it have been sent?"': 'name="What went wrong?"',
    'name="no" sourceRef="was_it_sent"': 'name="not sent" sourceRef="was_it_sent"',
    'name="yes" sourceRef="was_it_sent"': 'name="may be sent" sourceRef="was_it_sent"',
    "      <bpmn:outgoing>was_it_sent_to_unavailable<": (
        "      <bpmn:outgoing>was_it_sent_to_why</bpmn:outgoing>\n"
        "      <bpmn:outgoing>was_it_sent_to_unavailable<"
    ),
    """send_refused_to_why" sourceRef="send_refused" targetRef="why" />
""": """was_it_sent_to_why" name="refused" sourceRef="was_it_sent" targetRef="why">
      <bpmn:conditionExpression xsi:type="bpmn:tFormalExpression">\
sms_error['error_code'] == 'REFUSED'</bpmn:conditionExpression>
    </bpmn:sequenceFlow>
""",
    "send_refused_to_why": "was_it_sent_to_why",
    # The gateway moves below the boundary event.
    """        <dc:Bounds x="635" y="775" width="50" height="50" />
        <bpmndi:BPMNLabel>
          <dc:Bounds x="690" y="766" width="150" height="28" />
""": """        <dc:Bounds x="465" y="475" width="50" height="50" />
        <bpmndi:BPMNLabel>
          <dc:Bounds x="360" y="486" width="100" height="28" />
""",
    """        <di:waypoint x="430" y="258" />
        <di:waypoint x="430" y="500" />
        <di:waypoint x="535" y="500" />
""": """        <di:waypoint x="515" y="500" />
        <di:waypoint x="535" y="500" />
        <bpmndi:BPMNLabel>
          <dc:Bounds x="504" y="472" width="50" height="28" />
        </bpmndi:BPMNLabel>
""",
    """        <di:waypoint x="490" y="800" />
        <di:waypoint x="635" y="800" />
""": """        <di:waypoint x="490" y="475" />
""",
    """        <di:waypoint x="685" y="800" />
""": """        <di:waypoint x="490" y="525" />
        <di:waypoint x="490" y="800" />
""",
    """        <di:waypoint x="660" y="825" />
        <di:waypoint x="660" y="900" />
""": """        <di:waypoint x="490" y="525" />
        <di:waypoint x="490" y="900" />
""",
}


def for_arena(drawing: str) -> str:
    """Return a drawing changed for Arena. Raise ValueError if it does not have a text to change."""
    for ours, arenas in CHANGES.items():
        if ours not in drawing:
            raise ValueError(f"the drawing does not have {ours}")
        drawing = drawing.replace(ours, arenas)
    return drawing


if __name__ == "__main__":
    text = for_arena((HERE / "notify_customer.bpmn").read_text("utf-8"))
    (HERE / "notify_customer_arena.bpmn").write_text(text, "utf-8")
    sys.stdout.write("examples/notify_customer_arena.bpmn\n")
