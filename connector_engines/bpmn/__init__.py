"""The rules of a case, for every engine. They use no thread, clock, random value, store or network.

    process = parse(path, content, connectors, settings, process_id)    # raises InvalidProcess
    case = Case.start(case_id, process, data, now, new_id)              # raises InvalidInput

    case.advance(now)                       run all steps that need no call
    for task in case.wanted(now):
        request = case.begin(task, now)     Request(task, operator, inputs, since), or None
    # Store the case here, before anything is sent.
    case.end(request.task, result, now)     the output, or a ConnectorError
    case.withdraw(request.task)             the call was not made
    case.lose(harmless)                     it is not known how the begun calls ended: look them up
    case.look()                             look up once more the calls that were not found
    case.complete(task, data, now)          a person has completed a task
    case.receive("message", name, payload, correlation, now)
    case.due()                              when the case continues by itself, or None
    case.stop(error)                        the process itself failed, not a call

    case.status, .data, .error, .stopped, .late, .tasks, .waits, .take_events()
    case.retry(name, now)                   a person decides
    task, operator = case.to_settle(output, name); case.settle(task, output, now)

    text = process_text(process);  process = process_of(text)
    parts = case_parts(case);      case = case_of(case_id, process, parts, now, new_id)
    keeper = Keeper(case); keeper.changes(); keeper.confirm()   # the parts that changed

`now` is in seconds since 1970. `new_id` returns a new UUID each time: uuid.uuid4, or the function
of an engine that repeats its history. The module `given` passes both to SpiffWorkflow; see there
what it replaces. The module `call` has a drawing of the states of a call. If a `Request` has
`since`, the call may have begun at that time: run it with the connection's `since=`.
"""

from .call import Call, State
from .case import Case, Event, Request
from .errors import CaseStopped, InvalidProcess, UnexpectedFault
from .first_format import case_of_first_format
from .given import given
from .process import MOST_BYTES, Process, parse, starts
from .scripts import script_names
from .state import Changes, Keeper, case_of, case_parts, process_of, process_text, restore

__all__ = [
    "MOST_BYTES",
    "Call",
    "Case",
    "CaseStopped",
    "Changes",
    "Event",
    "InvalidProcess",
    "Keeper",
    "Process",
    "Request",
    "State",
    "UnexpectedFault",
    "case_of",
    "case_of_first_format",
    "case_parts",
    "given",
    "parse",
    "process_of",
    "process_text",
    "restore",
    "script_names",
    "starts",
]
