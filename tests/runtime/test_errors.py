import inspect
import json
import pickle

import pytest

from connector_runtime import errors

KINDS = [
    kind for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, errors.ConnectorError)
]  # fmt: skip


def test_codes_are_stable_and_distinct():
    assert sorted(kind.code for kind in KINDS) == [
        "CONNECTOR_ERROR", "CREDENTIALS_REFUSED", "FORBIDDEN", "INVALID_ANSWER",
        "INVALID_CONFIGURATION", "INVALID_INPUT", "INVALID_PACKAGE", "LEDGER_FAILED",
        "NEVER_CONNECTED", "NOT_FOUND", "NO_ANSWER", "OUTCOME_UNKNOWN", "REFUSED", "THROTTLED",
        "UNAVAILABLE", "UNKNOWN_ACTION",
    ]  # fmt: skip


def test_nothing_of_unknown_outcome_is_retryable():
    assert {kind.code for kind in KINDS if kind.outcome == "unknown"} == {"OUTCOME_UNKNOWN"}
    assert not errors.OutcomeUnknown.retryable


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.code)
def test_an_error_travels_between_processes_and_as_json(kind):
    error = kind("what and where", status=400, provider_code="21608", problems=["a"], hint="do")
    copied = pickle.loads(pickle.dumps(error))
    assert type(copied) is kind
    assert copied.to_dict() == error.to_dict()
    assert json.loads(json.dumps(error.to_dict()))["code"] == kind.code
