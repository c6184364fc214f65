"""A host that knows only the documented interface, against the sandbox over real sockets."""

import json
import random
import re
import subprocess

import pytest

from tests.conftest import MANIFEST, until

TO = "+14155550123"
SEED = 20180515
TEXTS = [
    "",
    " ",
    "a",
    "\u0000",
    "\ud83d\udc4b",
    "__proto__",
    "{",
    "[]",
    '{"inputs":1}',
    "%",
    "null",
]
TEXTS += ["constructor", "toString", "x" * 5000]
ENVELOPE = {"response", "success", "connectorstatuscode", "errormessage", "autotestingenabled"}


@pytest.fixture
def ask(bizc, host, sandbox):
    """Make one call with the sandbox's settings and without look-up; return the envelope."""

    def one(action, given=None, settings=None, **more):
        every = {**sandbox.settings, "resolveSeconds": 0, **(settings or {})}
        call = host.call(action, given or {}, every, **more)
        (envelope,) = host.run(bizc, [call])
        return envelope

    return one


def output(envelope):
    assert envelope["success"], envelope
    return envelope["response"]["outputs"]["output"]


def error(envelope):
    assert not envelope["success"], envelope
    return envelope["response"]["outputs"]["error"]


def test_host_sends_looks_up_and_lists(ask, sandbox):
    sent = output(ask("send_sms", {"to": TO, "body": "Hola, ¿qué tal? 👋"}))
    assert sent["status"] == "queued"
    assert sent["date_sent"] is None
    (kept,) = sandbox.messages
    assert (kept["sid"], kept["body"]) == (sent["sid"], "Hola, ¿qué tal? 👋")
    sandbox.advance(600)
    now = output(ask("get_sms_information", {"sid": sent["sid"]}))
    assert now["status"] == "delivered"
    assert now["price"] == float(sandbox.messages[0]["price"])
    listed = output(ask("get_all_sms"))
    assert listed == {"messages": [now]}


def test_dates_come_as_bizagi_keeps_them(ask, sandbox):
    sandbox.add({"date_created": "Tue, 15 May 2018 16:02:24 +0000"})
    (listed,) = output(ask("get_all_sms"))["messages"]
    assert listed["date_created"] == "2018-05-15T16:02:24"


def test_every_page_is_listed(ask, sandbox):
    sandbox.seed(2500)
    listed = output(ask("get_all_sms"))["messages"]
    sent = [message["sid"] for message in sandbox.messages if message["direction"] != "inbound"]
    assert [message["sid"] for message in listed] == sent


def test_authenticator_is_the_connection_check(ask):
    account = output(ask("", router="authenticator"))
    assert account["account"].endswith("(active)")
    assert account["credentials"] == "Twilio accepts them."


def test_authenticator_says_what_is_wrong(ask):
    refused = error(ask("", settings={"authToken": "wrong"}, router="authenticator"))
    assert refused["error"] == "CREDENTIALS_REFUSED"
    assert refused["status"] == 401
    assert "wrong" not in refused["message"]


def test_cache_is_cleaned_and_the_connector_still_works(bizc, host, sandbox):
    clean = host.call("", {}, sandbox.settings, router="cleanAllModulesCache")
    listing = host.call("get_all_sms", {}, sandbox.settings)
    first, second, cleaned, third = host.run(bizc, [listing, clean, clean, listing])
    assert output(second) == output(cleaned) == {"cleaned": True}
    assert set(second) == ENVELOPE
    assert output(first) == output(third) == {"messages": []}


def test_unknown_action_is_named(ask, sandbox):
    refused = ask("make_call")
    assert error(refused)["error"] == "UNKNOWN_ACTION"
    assert refused["connectorstatuscode"] == -400
    assert "make-call" in refused["errormessage"]
    assert sandbox.requests == []


def test_send_that_was_not_answered_is_never_repeated(ask, sandbox, sent):
    sandbox.fail("withhold", "POST", times=None)
    unknown = error(ask("send_sms", {"to": TO, "body": "a"}, {"timeoutSeconds": 0.3}))
    assert unknown["error"] == "OUTCOME_UNKNOWN"
    assert unknown["status"] == -200
    until(sent)  # on a busy machine the connector may give up before the sandbox has read it
    assert len(sent()) == 1


def test_look_up_that_was_not_answered_is_repeated(ask, sandbox):
    sid = sandbox.add()["sid"]
    sandbox.fail("reset_before", "GET", times=2)
    assert output(ask("get_sms_information", {"sid": sid}))["sid"] == sid
    assert len(sandbox.requests) == 3


def test_throttled_send_is_repeated_and_sent_once(ask, sandbox, sent):
    sandbox.fail("throttle", "POST", times=1)
    output(ask("send_sms", {"to": TO, "body": "a"}))
    assert (len(sent()), len(sandbox.messages)) == (2, 1)


def test_code_of_another_type_does_not_decide(ask, sandbox, sent):
    sandbox.fail("body", value={"code": {"toString": 1}}, status=429)
    output(ask("send_sms", {"to": TO, "body": "a"}))
    assert len(sent()) == 2
    sandbox.fail("body", value={"code": [21211]}, status=400)
    assert error(ask("send_sms", {"to": TO, "body": "a"}))["error"] == "REFUSED"


def test_status_that_is_a_number_is_mapped_as_text(ask, sandbox):
    sid = sandbox.add()["sid"]
    sandbox.fail("body", patch={"status": 5})
    assert output(ask("get_sms_information", {"sid": sid}))["status"] == "5"


@pytest.mark.parametrize(
    "date",
    ["Wed, 31 Feb 2018 16:02:24 +0000", "Fri, 31 Dec 9999 23:59:59 -0500"],
    ids=["no-such-day", "no-such-year"],
)
def test_date_that_is_none_does_not_lose_what_was_sent(ask, sandbox, date):
    sandbox.fail("body", patch={"date_created": date})
    unknown = error(ask("send_sms", {"to": TO, "body": "a"}))
    assert unknown["error"] == "OUTCOME_UNKNOWN"
    assert sandbox.messages[0]["sid"] in unknown["message"]


def test_leap_second_is_the_next_minute(ask, sandbox):
    sid = sandbox.add()["sid"]
    sandbox.fail("body", patch={"date_sent": "Sat, 31 Dec 2016 23:59:60 +0000"})
    assert output(ask("get_sms_information", {"sid": sid}))["date_sent"] == "2017-01-01T00:00:00"


@pytest.mark.parametrize(
    ("method", "code"), [("GET", "INVALID_ANSWER"), ("POST", "OUTCOME_UNKNOWN")]
)
def test_answer_too_large_to_be_one_is_let_go(ask, sandbox, method, code):
    sandbox.fail("body", method, times=None, text="x" * (65 * 1024 * 1024))
    action, given = (
        ("send_sms", {"to": TO, "body": "a"}) if method == "POST" else ("get_all_sms", {})
    )
    refused = error(ask(action, given))
    assert refused["error"] == code
    assert "too large" in refused["message"]
    assert len(sandbox.requests) == 1


@pytest.mark.parametrize("name", [{"toString": 1}, ["send-sms"], None, 5], ids=str)
def test_action_whose_name_is_no_text_is_unknown(bizc, host, sandbox, name):
    call = {**host.call("send_sms", {"to": TO, "body": "a"}, sandbox.settings), "action": name}
    (envelope,) = host.run(bizc, [call])
    assert error(envelope)["error"] == "UNKNOWN_ACTION"


def test_certificate_that_is_not_verified_gets_no_request(ask, https_port):
    port, _, received = https_port
    settings = {"apiBaseUrl": f"https://localhost:{port}"}
    refused = error(ask("send_sms", {"to": TO, "body": "a"}, settings))
    assert refused["error"] == "NEVER_CONNECTED"
    assert "certificate" in refused["message"]
    assert received == []


def test_cleaning_keeps_nothing_of_what_was_loaded_before(bizc, node):
    script = (
        "const file = process.argv[1] + '/bizagiRouter.js'; let router;"
        "for (let i = 0; i < 20; i += 1) { router = require(file);"
        "router.authenticator({}, () => {}); router.cleanAllModulesCache({}, () => {}); }"
        "let kept = 0; const seen = new Set(); const count = (m) => { if (!seen.has(m)) {"
        "seen.add(m); kept += 1; m.children.forEach(count); } }; count(module);"
        "console.log(kept);"
    )
    ran = subprocess.run([node, "-e", script, bizc], capture_output=True, text=True, check=True)
    assert int(ran.stdout) < 20


def texts(globals_, given, sandbox, form):
    """The same call in each form in which a host may hand it over."""
    data = {"inputs": {"input": given}}
    if form == "globals-text":
        return {"globals": json.dumps(globals_), "data": data}
    if form == "data-text":
        return {"data": json.dumps(data)}
    if form == "inputs-text":
        return {"data": {"inputs": json.dumps(data["inputs"])}}
    if form == "input-text":
        return {"data": {"inputs": {"input": json.dumps(given)}}}
    if form == "all-in-systemproperties":
        whole = {**globals_["authdata"], **globals_["systemproperties"]}
        return {"globals": {"authdata": {}, "systemproperties": whole, "projectname": ""}}
    assert form == "as-documented"
    return {}


@pytest.mark.parametrize(
    "form",
    [
        *("as-documented", "globals-text", "data-text", "inputs-text", "input-text"),
        "all-in-systemproperties",
    ],
)
def test_host_may_pass_json_text(bizc, host, sandbox, form):
    given = {"to": TO, "body": 'He said "a\\b"'}
    call = host.call("send_sms", given, sandbox.settings)
    call = {**call, **texts(call["globals"], given, sandbox, form), "raw": True}
    (envelope,) = host.run(bizc, [call])
    assert output(envelope)["body"] == given["body"]


@pytest.mark.parametrize(
    ("written", "arrives"),
    [
        ("one%5Cntwo", "one\ntwo"),
        ("%2541", "%41"),
        ("100 % off", "100 % off"),
        ("100% off", "100% off"),
        ("lost\nbreak", "lostbreak"),
        ("%41", "A"),
    ],
    ids=["line-break", "percent", "lone-percent", "percent-space", "spoiled-break", "spoiled-hex"],
)
def test_line_breaks_and_percent_signs_arrive_as_documented(bizc, host, sandbox, written, arrives):
    call = host.call("send_sms", {"to": TO, "body": written}, sandbox.settings)
    # The host drops a line break from the text of the JSON, where it stands as it is.
    if "\n" in written:
        call["data"]["inputs"]["input"]["body"] = written.replace("\n", "")
    (envelope,) = host.run(bizc, [call])
    assert output(envelope)["body"] == arrives


def test_callback_that_throws_does_not_end_the_host(bizc, host, sandbox):
    calls = [host.call("get_all_sms", {}, sandbox.settings, throws=True) for _ in range(3)]
    assert [envelope["success"] for envelope in host.run(bizc, calls)] == [True] * 3


def garbage(rng, depth=0):
    """Anything that JSON can say."""
    kinds = ["none", "bool", "integer", "float", "text"]
    kind = rng.choice(kinds + (["list", "object"] if depth < 3 else []))
    if kind == "none":
        return None
    if kind == "bool":
        return rng.random() < 0.5
    if kind == "integer":
        return rng.choice([0, 1, -1, 2**53, -(2**70)])
    if kind == "float":
        return rng.choice([0.5, -1e308, 1e-300])
    if kind == "text":
        return rng.choice(TEXTS)
    if kind == "list":
        return [garbage(rng, depth + 1) for _ in range(rng.randrange(3))]
    names = ["inputs", "input", "to", "from", "body", "sid", "authdata", "systemproperties"]
    names += ["accountId", "authToken", "maxAttempts", "__proto__", "constructor", "length"]
    names += ["toString", "valueOf", "toJSON", "then"]
    return {rng.choice(names): garbage(rng, depth + 1) for _ in range(rng.randrange(4))}


def test_garbage_is_answered_once_and_ends_nothing(bizc, host, sandbox):
    print(f"seed {SEED}")
    rng = random.Random(SEED)
    actions = [action["name"].replace("_", "-") for action in MANIFEST["actions"]]
    calls = []
    for _ in range(600):
        call = host.call("send_sms", {"to": TO, "body": "a"}, sandbox.settings, raw=True)
        call["action"] = rng.choice([*actions, garbage(rng)])
        call["router"] = rng.choice(["invokeCustomAction", "invokeCustomAction", "authenticator"])
        place = rng.choice(["globals", "data", "both", "authdata", "inputs", "field"])
        if place in ("globals", "both"):
            call["globals"] = garbage(rng)
        if place in ("data", "both"):
            call["data"] = garbage(rng)
        if place == "authdata":
            call["globals"]["authdata"] = garbage(rng)
        if place == "inputs":
            call["data"]["inputs"] = garbage(rng)
        if place == "field":
            call["data"]["inputs"]["input"][rng.choice(["to", "body", "from"])] = garbage(rng)
        calls.append(call)
    for call, envelope in zip(calls, host.run(bizc, calls), strict=True):
        assert set(envelope) == ENVELOPE, call
        if not envelope["success"]:
            failed = error(envelope)
            assert set(failed) == {"error", "message", "status"}
            assert failed["error"] != "CONNECTOR_ERROR", (call, failed)
            assert sandbox.auth_token not in json.dumps(envelope)


def test_nothing_is_global_between_two_environments(bizc, host, sandbox):
    calls = [
        host.call("send_sms", {"to": TO, "body": str(n)}, {**sandbox.settings, "from": sender})
        for n, sender in enumerate(["+15005550006", "", "+15005550006", ""] * 5)
    ]
    for call, envelope in zip(calls, host.run(bizc, calls), strict=True):
        assert envelope["success"] == bool(call["globals"]["authdata"]["from"])


def test_connector_needs_nothing_but_node_and_writes_nothing(bizc, node):
    listed = [node, "-p", "JSON.stringify(require('module').builtinModules)"]
    builtin = json.loads(subprocess.run(listed, capture_output=True, check=True).stdout)
    sources = {path: path.read_text("utf-8") for path in bizc.rglob("*.js")}
    assert len(sources) > 10
    for path, source in sources.items():
        for name in re.findall(r"require\(['\"]([^'\"]+)", source):
            own = name.startswith((".", "twilio-connector/", "bizagi-connector/"))
            assert own or name in builtin, (path.name, name)
        assert not re.search(r"\b(console\.\w|process\.(?!env\b)\w)", source), path.name
