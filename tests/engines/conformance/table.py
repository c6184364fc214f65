"""The processes that every engine must run in the same way, with their expected results."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import yaml

FOLDER = Path(__file__).parent
# The look-up ends soon, because some messages in the table are never found.
SETTINGS = {"timeoutSeconds": 20, "maxAttempts": 1, "resolveSeconds": 1}


@dataclass
class Entry:
    name: str
    data: dict[str, Any] = field(default_factory=dict)
    faults: list[Any] = field(default_factory=list)
    people: list[list[Any]] = field(default_factory=list)
    stands: str = "waiting"
    status: str = "finished"
    has: dict[str, Any] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)
    error: dict[str, Any] = field(default_factory=dict)
    late: list[str] = field(default_factory=list)

    @property
    def file(self):
        # A process in several files has a folder
        folder = FOLDER / "processes" / self.name
        return folder if folder.is_dir() else folder.with_suffix(".bpmn")


class Outcome(NamedTuple):
    """What an engine reports about a case. `stood` and `error` are from before people acted."""

    stood: str | None
    error: dict[str, Any] | None
    status: str
    data: dict[str, Any]
    late: list[str]


def entries():
    listed = yaml.safe_load((FOLDER / "processes.yaml").read_text("utf-8"))
    return [Entry(**fields) for fields in listed]


def label(entry):
    return f"{entry.name}_{entry.data.get('text', '')}".replace(" ", "_").rstrip("_")


def prepare(sandbox, entry):
    sandbox.reset()
    for kind, options in entry.faults:
        sandbox.fail(kind, **options)


def output_of(sandbox, text):
    """The output that a person gives after they have sent the message in another way."""
    sandbox.add({"body": text, "to": "+14155550123"})
    (message,) = sandbox.messages
    return message["sid"]


def judge(sandbox, entry, outcome):
    """Compare everything that must be the same in both engines."""
    assert outcome.status == entry.status, outcome
    assert outcome.stood == (entry.stands if entry.people else entry.status), outcome
    assert entry.error.items() <= (outcome.error or {}).items(), outcome.error
    assert entry.has.items() <= outcome.data.items(), outcome.data
    assert sorted(message["body"] for message in sandbox.messages) == entry.messages
    assert outcome.late == entry.late
