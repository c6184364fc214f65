"""The rules of a case, for every engine: no thread, clock, random, store or network in here.

    process = parse(path, content, connectors, settings, process_id)    # raises InvalidProcess
    case = Case.start(case_id, process, data, now, new_id)              # raises InvalidInput

    case.advance(now)                       run all that stays inside the process
    for task in case.wanted(now):
        request = case.begin(task, now)     Request(task, operator, inputs, since), or None
    # Keep the case here, before anything leaves.
    case.end(request.task, result, now)     the output, or a ConnectorError
    case.withdraw(request.task)             it was not made after all
    case.lose(harmless)                     nobody knows how the begun calls ended: look them up
    case.look()                             look once more for those that were not found
    case.complete(task, data, now)          people and messages
    case.receive("message", name, payload, correlation, now)
    case.due()                              when something happens by itself, or None
    case.stop(error)                        a fault that is no call's

    case.status, .data, .error, .stopped, .late, .tasks, .waits, .take_events()
    case.retry(name, now)                   people decide
    task, operator = case.to_settle(output, name); case.settle(task, output, now)

    text = process_text(process);  process = process_of(text)
    parts = case_parts(case);      case = case_of(case_id, process, parts, now, new_id)
    keeper = Keeper(case); keeper.changes(); keeper.confirm()   # what changed

`now` is in seconds since 1970; `new_id` returns a UUID each time (uuid.uuid4, or that of an engine
which repeats its history). `given` is how SpiffWorkflow gets both; see there what is replaced.
`call` draws the states of a call. A `Request` with `since` is of a call that may have begun at that
moment: run it with the connection's `since=`.
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
