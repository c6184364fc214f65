"""Small BPMN processes, written element by element."""

from itertools import pairwise

HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<bpmn:definitions xmlns:bpmn="http://www.omg.org/spec/BPMN/20100524/MODEL"
    xmlns:spiffworkflow="http://spiffworkflow.org/bpmn/schema/1.0/core"
    xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
    id="definitions" targetNamespace="https://example.com/tests">
"""


def service(
    name="send",
    operator="twilio/send_sms",
    result="sms",
    retry=None,
    script=None,
    loop="",
    **inputs,
):
    inputs = inputs or {"to": "'+14155550123'", "body": "'Hola'"}
    parameters = "".join(
        f'<spiffworkflow:parameter id="{key}" type="str" value="{value}" />'
        for key, value in inputs.items()
    )
    retrying = (
        f'<spiffworkflow:retry retries="{retry[0]}" backoff_base="{retry[1]}" />' if retry else ""
    )
    after = f"<spiffworkflow:postScript>{script}</spiffworkflow:postScript>" if script else ""
    return f"""<bpmn:serviceTask id="{name}" name="The task {name}"><bpmn:extensionElements>
      <spiffworkflow:serviceTaskOperator id="{operator}" resultVariable="{result}">
        <spiffworkflow:parameters>{parameters}</spiffworkflow:parameters>{retrying}
      </spiffworkflow:serviceTaskOperator>{after}</bpmn:extensionElements>{loop}</bpmn:serviceTask>"""


def script(name, text):
    return f'<bpmn:scriptTask id="{name}"><bpmn:script>{text}</bpmn:script></bpmn:scriptTask>'


def boundary(name, task, error=None, timer=None):
    if timer:
        inner = f"""<bpmn:timerEventDefinition id="{name}_timer"><bpmn:timeDuration
            xsi:type="bpmn:tFormalExpression">"{timer}"</bpmn:timeDuration>
            </bpmn:timerEventDefinition>"""
    else:
        reference = f' errorRef="{error}"' if error else ""
        inner = f'<bpmn:errorEventDefinition id="{name}_error"{reference} />'
    return f'<bpmn:boundaryEvent id="{name}" attachedToRef="{task}">{inner}</bpmn:boundaryEvent>'


def error(name, code=None):
    coded = f' errorCode="{code}"' if code else ""
    return f"""<bpmn:error id="{name}" name="{name}"{coded}><bpmn:extensionElements>
      <spiffworkflow:variableName>fault</spiffworkflow:variableName></bpmn:extensionElements>
      </bpmn:error>"""


def flows(*chains):
    """Connect elements: "start>send>end" makes two flows."""
    pairs = [pair for chain in chains for pair in pairwise(chain.split(">"))]
    return "".join(
        f'<bpmn:sequenceFlow id="flow_{a}_{b}" sourceRef="{a}" targetRef="{b}" />' for a, b in pairs
    )


def document(*elements, outside="", process="case"):
    events = '<bpmn:startEvent id="start" /><bpmn:endEvent id="end" />'
    inner = "\n".join(elements)
    return (
        f'{HEAD}<bpmn:process id="{process}" isExecutable="true">{events}\n{inner}\n'
        f"</bpmn:process>{outside}</bpmn:definitions>"
    )


def loop(kind):
    return f"""<bpmn:multiInstanceLoopCharacteristics isSequential="{kind}">
      <bpmn:loopDataInputRef>numbers</bpmn:loopDataInputRef>
      <bpmn:loopDataOutputRef>results</bpmn:loopDataOutputRef>
      <bpmn:inputDataItem id="number" /><bpmn:outputDataItem id="sms" />
      </bpmn:multiInstanceLoopCharacteristics>"""


def pause(name, expression, kind="timeDuration"):
    """An event that waits for a timer. `expression` is Python."""
    timer = clock(name, expression, kind)
    return f'<bpmn:intermediateCatchEvent id="{name}">{timer}</bpmn:intermediateCatchEvent>'


def clock(name, expression, kind="timeDuration"):
    return f"""<bpmn:timerEventDefinition id="{name}_timer">
      <bpmn:{kind} xsi:type="bpmn:tFormalExpression">{expression}</bpmn:{kind}>
      </bpmn:timerEventDefinition>"""
