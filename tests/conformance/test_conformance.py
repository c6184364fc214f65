"""The Python connector and the Bizagi package do the same: one table of cases for both."""

import collections

import pytest

from connector_runtime import load
from connector_runtime.errors import ConnectorError
from tests.conformance import table
from tests.conftest import ROOT

CASES = table.cases()
IDS = [case["id"] for case in CASES]
FIELDS = {
    *("sid", "date_created", "date_updated", "date_sent", "account_sid", "to", "from", "body"),
    *("status", "api_version", "price", "price_unit", "error_code", "error_message", "uri"),
}


@pytest.fixture(scope="module")
def server():
    with table.Server() as running:
        yield running


@pytest.fixture(scope="module")
def python(server):
    """Run a case with the Python connector: what came back, as output or error."""
    twilio = load(ROOT)

    def run(case):
        settings, given = server.play("python", case)
        try:
            return twilio.run(case["action"], given, settings), None
        except ConnectorError as error:
            return None, {"code": error.code, "status": error.status, "message": str(error)}

    return run


@pytest.fixture(scope="module")
def bizagi(server, node, bizc, host):
    """Run all cases in Node, as a host would, and give the envelope of one."""
    calls = []
    for case in CASES:
        settings, given = server.play("bizagi", case)
        calls.append(host.call(case["action"], given, settings))
    envelopes = dict(zip(IDS, host.run(bizc, calls), strict=True))

    def run(case):
        envelope = envelopes[case["id"]]
        outputs = envelope["response"]["outputs"]
        if envelope["success"]:
            assert outputs["error"] == {}
            assert (envelope["connectorstatuscode"], envelope["errormessage"]) == (200, "")
            return outputs["output"], None
        error = outputs["error"]
        assert outputs["output"] == {}
        assert set(error) == {"error", "message", "status"}
        assert envelope["errormessage"] == error["message"]
        assert envelope["connectorstatuscode"] == error["status"]
        status = error["status"] if error["status"] > 0 else None
        return None, {"code": error["error"], "status": status, "message": error["message"]}

    return run


def judge(case, implementation, server, output, error, dates):
    wanted = table.expected(case, implementation, server)
    asked = server.asked(implementation, case)
    if "error" in wanted:
        assert error is not None, f"no error, but {output}"
        assert error["code"] == wanted["error"]["code"], error
        assert wanted["error"].get("message", "") in error["message"]
        assert error["status"] == wanted["error"].get("status", error["status"])
        assert wanted["error"].get("without", "\0") not in error["message"]
    else:
        assert error is None, error
    for message in [output, *(output or {}).get("messages", [])]:
        if message is not None and "messages" not in message:
            assert set(message) == FIELDS
    for name, value in wanted.get("output", {}).items():
        assert output[name] == dates(name, value), name
    if "sids" in wanted:
        assert [each["sid"][-2:] for each in output["messages"]] == wanted["sids"]
    for name, value in wanted.get("first", {}).items():
        assert output["messages"][0][name] == dates(name, value), name
    if "requests" in wanted:
        assert len(asked) == len(wanted["requests"]), asked
        for request, expected in zip(asked, wanted["requests"], strict=True):
            for key, value in expected.items():
                assert request[key] == value, key


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_python_connector(case, python, server):
    output, error = python(case)
    judge(case, "python", server, output, error, lambda name, value: value)


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_bizagi_package(case, bizagi, server):
    def dates(name, value):
        return table.bizagi_date(value) if name.startswith("date_") and value else value

    output, error = bizagi(case)
    judge(case, "bizagi", server, output, error, dates)


@pytest.mark.parametrize("case", [case for case in CASES if "error" in case], ids=lambda c: c["id"])
def test_both_say_the_same(case, python, bizagi):
    messages = [run(case)[1]["message"] for run in (python, bizagi)]
    assert messages[0].replace(table.account("python", case), "AC") == messages[1].replace(
        table.account("bizagi", case), "AC"
    )


def test_table_is_large_enough_and_its_ids_are_unique():
    assert len(CASES) >= 60
    assert [name for name, count in collections.Counter(IDS).items() if count > 1] == []
    assert {case["action"] for case in CASES} == {"send_sms", "get_sms_information", "get_all_sms"}
    for case in CASES:
        judged = {"requests", "output", "sids", "first", "error"} & set(case)
        assert judged, f"{case['id']} expects nothing"
