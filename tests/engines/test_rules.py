"""The rules of a case without an engine: the test passes the time."""

import uuid

import pytest

from connector_engines import bpmn
from connector_runtime.errors import Refused, Throttled, Unavailable
from tests.engines.drawing import boundary, flows, service

LOOK = service("look", "twilio/get_sms_information", "found", sid="'SM' + 'a' * 32")


@pytest.fixture
def rules(engine, bpmn_file):
    """Start a case of these elements. Return the case and its only call, which is wanted."""

    def start(*elements):
        case = bpmn.Case.start("case", engine.read(bpmn_file(*elements)), {}, 0.0, uuid.uuid4)
        case.advance(0.0)
        (name,) = case.wanted(0.0)
        return case, name

    return start


def test_repeats_wait_longer_each_time_and_none_begins_before_its_moment(rules):
    case, name = rules(service(retry=(2, 3)), flows("start>send>end"))
    moment = 100.0
    for pause in (3, 9):
        assert case.begin(name, moment) is not None
        case.end(name, Throttled("too many"), moment)
        assert case.due() == moment + pause
        assert case.begin(name, moment + pause - 1) is None
        moment += pause
    case.begin(name, moment)
    case.end(name, Throttled("too many"), moment)
    assert case.status == "failed"


def test_call_in_doubt_is_repeated_where_its_look_up_did_not_leave(rules):
    case, name = rules(service(retry=(2, 1)), flows("start>send>end"))
    case.begin(name, 10.0)
    case.lose(lambda operator: False)
    assert case.begin(name, 20.0).since == 10.0
    case.end(name, Unavailable("no connection"), 20.0)
    assert case.begin(name, 30.0).since == 10.0


def test_harmless_call_that_the_process_has_left_is_not_made_again(rules):
    case, name = rules(
        LOOK,
        boundary("late", "look", timer="PT1S"),
        flows("start>look>end", "late>end"),
    )
    case.begin(name, 0.0)
    case.advance(5.0)
    case.lose(lambda operator: True)
    assert case.is_over


def test_call_in_doubt_whose_look_up_did_not_leave_stays_in_doubt(rules):
    case, name = rules(service(), flows("start>send>end"))
    case.begin(name, 10.0)
    case.lose(lambda operator: False)
    case.begin(name, 20.0)
    case.end(name, Unavailable("no connection"), 20.0)
    assert case.status == "interrupted"


def test_refused_call_is_not_sent_again_though_unknown_ones_are(rules):
    case, name = rules(service(), flows("start>send>end"))
    case.resend_after_seconds = 120.0
    case.begin(name, 10.0)
    case.end(name, Refused("no"), 10.0)
    assert (case.status, case.due()) == ("failed", None)
