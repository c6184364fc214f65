"""The record of a call: no sequence of events causes an unknown state or a second send."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connector_engines.bpmn.call import TRANSITIONS, Call, State

ARGUMENTS = {
    "begin": (1000.0,),
    "repeat": (1001.0,),
    "fail": ({"code": "REFUSED"},),
    "doubt": ({"code": "OUTCOME_UNKNOWN"},),
}


def happen(call, event):
    named = {"harmless": False} if event == "lose" else {}
    getattr(call, event)(*ARGUMENTS.get(event, ()), **named)


@pytest.mark.parametrize("event", TRANSITIONS)
@pytest.mark.parametrize("state", State)
def test_event_leads_where_the_table_says_or_is_refused(state, event):
    call = Call(state=state)
    allowed, target = TRANSITIONS[event]
    if state in allowed:
        happen(call, event)
        assert call.state is target
    else:
        with pytest.raises(RuntimeError, match=f"{state.value} can't {event}"):
            happen(call, event)
        assert call.state is state


@given(st.lists(st.tuples(st.sampled_from(sorted(TRANSITIONS)), st.booleans()), max_size=30))
@settings(max_examples=1000)
def test_no_sequence_of_events_sends_twice(events):
    """The service stores at most one message, whatever the caller is told.

    A call without `since` sends. A call with `since` is looked up first, and a stored message is
    found. "fail" and "repeat" happen only if nothing was stored.
    """
    call, stored, by_hand = Call(), 0, 0
    for wish, sent in events:
        if call.state not in TRANSITIONS[wish][0]:
            continue
        event = wish
        if call.state is State.BEGUN and call.before is not None:
            if event in ("fail", "repeat", "succeed"):
                # A look-up finds only a message that nobody has settled
                event = "succeed" if stored > by_hand else "doubt"
        elif call.state is State.BEGUN and event in ("succeed", "lose", "doubt"):
            # The request was sent, so the message was stored: certainly or possibly
            stored += sent or event == "succeed"
        if event in ("retry", "settle"):
            # A person has checked what was stored and is responsible for what follows
            by_hand = stored
        happen(call, event)
        assert stored - by_hand <= 1
        if call.state is State.WANTED and stored > by_hand:
            assert call.since is not None, "it would be sent again without a look"
        assert Call.from_dict(call.to_dict()) == call


def test_moment_of_the_first_beginning_is_kept_until_it_is_surely_over():
    call = Call()
    call.begin(10.0)
    call.withdraw()
    assert (call.since, call.attempts) == (None, 0)
    call.begin(20.0)
    call.lose(harmless=False)
    call.begin(30.0)
    assert (call.since, call.before) == (20.0, 20.0)
    call.repeat(40.0)
    # The first attempt may still have been carried out
    assert (call.since, call.due) == (20.0, 40.0)
    call.begin(50.0)
    call.doubt({"code": "OUTCOME_UNKNOWN"})
    call.look()
    assert call.since == 20.0
    call.begin(60.0)
    call.doubt({"code": "OUTCOME_UNKNOWN"})
    call.retry()
    assert (call.since, call.error) == (None, None)


def test_harmless_call_is_made_again_as_if_it_had_not_begun():
    call = Call()
    call.begin(10.0)
    call.lose(harmless=True)
    assert (call.state, call.since) == (State.WANTED, None)


def test_failed_attempt_leaves_an_earlier_one_in_doubt():
    call = Call()
    call.begin(10.0)
    call.lose(harmless=False)
    call.begin(20.0)
    call.fail({"code": "THROTTLED"})
    assert call.since == 10.0


def test_retry_begins_anew():
    call = Call(inputs={"to": "somebody"}, resends=1, due=5.0)
    call.begin(10.0)
    call.fail({"code": "REFUSED"})
    call.retry()
    assert call == Call()
