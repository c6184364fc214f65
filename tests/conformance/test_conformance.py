"""The Python connector and the Bizagi package do the same: one table of cases for both."""

import collections
import functools

import pytest

from connector_runtime import load
from connector_runtime.errors import ConnectorError
from tests.conformance import table
from tests.conftest import MANIFEST, ROOT

CASES = table.cases()
IDS = [case["id"] for case in CASES]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with table.Server(tmp_path_factory.mktemp("certificates")) as running:
        yield running


@pytest.fixture(scope="module")
def python(server):
    """Run a case with the Python connector: what came back, as output or error."""
    twilio = load(ROOT)

    @functools.cache
    def outcome(name):
        case = CASES[IDS.index(name)]
        settings, given = server.play("python", case)
        try:
            with pytest.MonkeyPatch.context() as environment:
                for name, value in server.environment.items():
                    environment.setenv(name, value)
                return twilio.run(case["action"], given, settings), None
        except ConnectorError as error:
            fault = {"code": error.code, "status": error.status, "message": str(error)}
            return None, {**fault, "candidates": getattr(error, "candidates", ())}

    return lambda case: outcome(case["id"])


@pytest.fixture(scope="module")
def bizagi(server, node, bizc, host):
    """Run all cases in Node, as a host would, and give the outcome of one."""
    calls = []
    for case in CASES:
        settings, given = server.play("bizagi", case)
        calls.append(host.call(case["action"], given, settings))
    envelopes = dict(zip(IDS, host.run(bizc, calls, env=server.environment), strict=True))

    return lambda case: table.outcome(envelopes[case["id"]])


# The Python connector can't be asked these before it has the option.
PENDING = () if "resolveSeconds" in table.DECLARED else ("resolution",)
PYTHONS = [case for case in CASES if case["file"] not in PENDING]


@pytest.mark.parametrize("case", PYTHONS, ids=[case["id"] for case in PYTHONS])
def test_python_connector(case, python, server):
    output, error = python(case)
    table.judge(case, "python", server, output, error)


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_bizagi_package(case, bizagi, server):
    output, error = bizagi(case)
    table.judge(case, "bizagi", server, output, error)


@pytest.mark.parametrize(
    "case", [case for case in PYTHONS if "error" in case], ids=lambda c: c["id"]
)
def test_both_say_the_same(case, python, bizagi):
    ours = {"python": "REQUESTS_CA_BUNDLE", "bizagi": "NODE_EXTRA_CA_CERTS"}
    messages = [
        run(case)[1]["message"]
        .partition(" It may be: ")[0]
        .replace(table.account(name, case), "AC")
        .replace(ours[name], "…")
        for name, run in (("python", python), ("bizagi", bizagi))
    ]
    assert messages[0] == messages[1]


def test_table_is_large_enough_and_its_ids_are_unique():
    assert len(CASES) >= 60
    assert [name for name, count in collections.Counter(IDS).items() if count > 1] == []
    assert {case["action"] for case in CASES} == {entry["name"] for entry in MANIFEST["actions"]}
    for case in CASES:
        judged = {"requests", "output", "sids", "first", "error", "candidates"} & set(case)
        assert judged, f"{case['id']} expects nothing"
