import pytest

from connector_engines.embedded import Engine
from tests.engines.drawing import document


@pytest.fixture
def bpmn_file(tmp_path):
    """Write a process of these elements to a new file."""
    numbers = iter(range(1000))

    def write(*elements, **options):
        path = tmp_path / f"process{next(numbers)}.bpmn"
        path.write_text(document(*elements, **options), "utf-8")
        return path

    return write


@pytest.fixture
def bpmn(bpmn_file):
    return bpmn_file


@pytest.fixture
def watched():
    return []


@pytest.fixture
def engine(twilio_folder, sandbox, watched):
    def watch(case, element, name, what):
        watched.append((element, what))

    settings = {**sandbox.settings, "timeoutSeconds": 20, "maxAttempts": 1, "resolveSeconds": 0}
    with Engine({"twilio": twilio_folder}, {"twilio": settings}, watch=watch) as running:
        yield running
