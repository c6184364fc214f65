"""What the Bizagi package promises beyond the table: proxies, bounds, the log, the host's life."""

import concurrent.futures
import itertools
import json
import os
import re
import shutil
import subprocess
import time

import pytest

from connector_build import bizagi_host
from tests.conformance import table
from tests.conftest import MANIFEST

TO = "+14155550123"
SENT = {"to": TO, "body": "Hola"}
SID = "SM" + "b" * 32


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with table.Server(tmp_path_factory.mktemp("certificates")) as running:
        yield running


@pytest.fixture
def play(server, bizc, host):
    """Play a case of the table that only the package has; return envelope and requests."""
    numbers = itertools.count()

    def one(action="send_sms", given=None, settings=None, answers=None, env=None, **more):
        case = {"id": f"{next(numbers)} {os.urandom(4).hex()}", "action": action}
        case |= {"settings": {"from": "+15005550006", **(settings or {})}}
        case |= {"input": SENT if given is None else given}
        case |= {"answers": [{"message": {}}] if answers is None else answers}
        every, filled = server.play("bizagi", case)
        call = host.call(action, filled, every)
        if "globals" in more:
            more["globals"](call["globals"])
        trusted = {name: server.environment[name] for name in TRUST}
        (envelope,) = host.run(bizc, [call], env={**trusted, **(env or {})})
        return envelope, server.asked("bizagi", case)

    return one


TRUST = ("NODE_EXTRA_CA_CERTS", "NODE_TLS_REJECT_UNAUTHORIZED", "NODE_NO_WARNINGS")


def error(envelope):
    assert not envelope["success"], envelope
    return envelope["response"]["outputs"]["error"]


def output(envelope):
    assert envelope["success"], envelope
    return envelope["response"]["outputs"]["output"]


def test_property_names_the_proxy_where_the_environment_does_not(play, server):
    proxy = server.environment["HTTPS_PROXY"].replace("%", "%25")  # the host reads it twice
    settings = {"apiBaseUrl": "${tunnel_open}", "proxyUrl": proxy}
    envelope, asked = play(settings=settings)
    assert output(envelope)["status"] == "queued"
    assert len(asked) == 1


def test_property_beats_the_environment(play, server):
    broken = {"HTTPS_PROXY": server.closed}
    settings = {"apiBaseUrl": "${tunnel_open}", "maxAttempts": 1}
    envelope, _ = play(settings=settings, env=broken)
    assert error(envelope)["error"] == "NEVER_CONNECTED"
    settings["proxyUrl"] = server.environment["HTTPS_PROXY"].replace("%", "%25")
    envelope, asked = play(settings=settings, env=broken)
    assert output(envelope)["status"] == "queued"
    assert len(asked) == 1


def test_proxy_may_be_reached_over_tls(play, server):
    proxy = server.environment["HTTPS_PROXY"].replace("%", "%25").rpartition(":")[0]
    secure = proxy.replace("http://", "https://").replace("127.0.0.1", "localhost")
    settings = {"apiBaseUrl": "${tunnel_open}", "proxyUrl": f"{secure}:{server.secure_proxy}"}
    envelope, asked = play(settings=settings)
    assert output(envelope)["status"] == "queued"
    assert len(asked) == 1


def test_password_of_the_proxy_is_needed_and_never_shown(play, server):
    wrong = server.environment["HTTPS_PROXY"].replace("s%40cret", "hush")
    settings = {"apiBaseUrl": "${tunnel_open}", "proxyUrl": wrong, "maxAttempts": 1}
    envelope, asked = play(settings=settings)
    assert error(envelope)["error"] == "NEVER_CONNECTED"
    assert "hush" not in json.dumps(envelope)
    assert asked == []


@pytest.mark.parametrize(
    "address", ["ftp://proxy.test", "http://", "http://a b", "socks5://a.test"]
)
def test_address_that_is_no_proxys_is_refused_before_anything_is_sent(play, address):
    envelope, asked = play(settings={"proxyUrl": address})
    assert error(envelope)["error"] == "INVALID_CONFIGURATION"
    assert "'proxyUrl' must be" in envelope["errormessage"]
    assert asked == []


def test_loopback_is_never_reached_through_a_proxy(play, server):
    settings = {"proxyUrl": server.closed}
    assert output(play(settings=settings)[0])["status"] == "queued"
    settings["apiBaseUrl"] = "${trusted}"
    assert output(play(settings=settings)[0])["status"] == "queued"


@pytest.mark.parametrize(
    ("host", "environment", "proxy"),
    [
        ("api.twilio.com", {"HTTPS_PROXY": "http://p.test:1"}, "p.test:1"),
        ("api.twilio.com", {"https_proxy": "http://p.test:1"}, "p.test:1"),
        ("api.twilio.com", {"HTTPS_PROXY": "p.test:1"}, "p.test:1"),
        ("api.twilio.com", {"ALL_PROXY": "http://p.test:1"}, "p.test:1"),
        ("api.twilio.com", {"HTTP_PROXY": "http://p.test:1"}, None),
        ("api.twilio.com", {}, None),
        ("api.twilio.com", {"NO_PROXY": "api.twilio.com"}, None),
        ("api.twilio.com", {"NO_PROXY": "localhost, twilio.com"}, None),
        ("api.twilio.com", {"no_proxy": ".twilio.com"}, None),
        ("api.twilio.com", {"NO_PROXY": "*"}, None),
        ("api.twilio.com", {"NO_PROXY": "api.twilio.com:443"}, None),
        ("api.twilio.com", {"NO_PROXY": "api.twilio.com:8443"}, "p.test:1"),
        ("api.twilio.com", {"NO_PROXY": "notapi.twilio.com,lio.com"}, "p.test:1"),
        ("10.1.2.3", {"NO_PROXY": "10.1.0.0/16"}, None),
        ("10.2.2.3", {"NO_PROXY": "10.1.0.0/16"}, "p.test:1"),
        ("localhost", {}, None),
        ("127.0.0.1", {}, None),
    ],
)
def test_proxy_is_chosen_as_other_programs_choose_it(bizc, node, host, environment, proxy):
    if any(name.lower() == "no_proxy" for name in environment) or "localhost" in host:
        environment = {"HTTPS_PROXY": "http://p.test:1", **environment}
    script = (
        f"const p = require('{bizc}/node_modules/bizagi-connector/proxy').choose("
        f"new URL('https://{host}'), undefined, {json.dumps(environment)});"
        "console.log(JSON.stringify(p && p.url.host));"
    )
    ran = subprocess.run([node, "-e", script], capture_output=True, check=True)
    assert json.loads(ran.stdout) == proxy


BUSY_SECONDS = 12  # what a busy machine may add; a server of these tests hangs for 20


def bound(settings):
    """How long a call may take: what docs/bizagi.md says."""
    attempts = settings["maxAttempts"] * (
        settings["connectTimeoutSeconds"] + settings["timeoutSeconds"]
    )
    return attempts + settings["timeoutSeconds"] + settings["resolveSeconds"]


# What a server does for ever, and to which address.
ENDLESS = {
    "hangs": ([{"withhold": True, "again": True}], "url"),
    "drips": ([{"drip": "body", "again": True}], "url"),
    "drips its head": ([{"drip": "head", "again": True}], "url"),
    "is too busy": ([{"status": 429, "again": True}], "url"),
    "is too busy for a minute": (
        [{"status": 429, "headers": {"Retry-After": "60"}, "again": True}],
        "url",
    ),
    "loses the answer, then hangs": (
        [{"reset": "before"}, {"withhold": True, "again": True}],
        "url",
    ),
    "never ends the handshake": ([], "mute"),
}


@pytest.mark.parametrize(
    ("attempts", "connect", "timeout", "resolve"), [(1, 0.3, 0.4, 0), (3, 0.2, 0.3, 0.6)]
)
def test_call_ends_within_the_documented_bound(play, attempts, connect, timeout, resolve):
    settings = {"maxAttempts": attempts, "connectTimeoutSeconds": connect}
    settings |= {"timeoutSeconds": timeout, "resolveSeconds": resolve}

    def one(case):
        (way, (script, address)), (action, given) = case
        started = time.monotonic()
        every = {**settings, "apiBaseUrl": f"${{{address}}}"}
        envelope, _ = play(action, given, every, [*script])
        return way, action, error(envelope)["error"], time.monotonic() - started

    play()  # so that the host has started
    actions = [("send_sms", SENT), ("get_sms_information", {"sid": SID})]
    cases = itertools.product(ENDLESS.items(), actions)
    with concurrent.futures.ThreadPoolExecutor(14) as threads:
        for way, action, code, took in threads.map(one, cases):
            assert code in ("OUTCOME_UNKNOWN", "NO_ANSWER", "THROTTLED", "NEVER_CONNECTED"), way
            assert took < bound(settings) + BUSY_SECONDS, (way, action, took)


@pytest.mark.parametrize(
    "look",
    [{"withhold": True}, {"status": 429, "headers": {"Retry-After": "30"}}],
    ids=["hangs", "is-too-busy"],
)
def test_look_up_ends_when_its_time_is_over_whatever_it_waits_for(play, look):
    settings = {"timeoutSeconds": 40, "resolveSeconds": 0.5}
    started = time.monotonic()
    envelope, _ = play(settings=settings, answers=[{"reset": "before"}, {**look, "again": True}])
    assert error(envelope)["error"] == "OUTCOME_UNKNOWN"
    assert time.monotonic() - started < 0.5 + BUSY_SECONDS


def test_certificate_that_was_refused_is_not_tried_again(installed, host, server):
    folder, logs = installed
    case = {"id": "once", "action": "send_sms", "input": SENT}
    case["settings"] = {"from": "+15005550006", "apiBaseUrl": "${stranger}"}
    settings, given = server.play("bizagi", case)
    host.run(folder, [host.call("send_sms", given, settings, log=True)])
    (file,) = logs.iterdir()
    assert len(file.read_text("utf-8").splitlines()) == 1


def test_authentication_parameter_beats_the_property_of_the_same_name(play, server):
    def both(globals_):
        globals_["systemproperties"] |= {"from": "+15005550001", "authToken": "wrong"}

    envelope, (asked,) = play(globals=both)
    assert envelope["success"]
    assert (asked["form"]["From"], asked["password"]) == ("+15005550006", "made-up-token")


def test_pages_come_over_one_connection_and_a_look_up_over_another_than_the_send(play):
    pages = [{"page": {"messages": [], "next": f"?PageToken=PA{n}"}} for n in range(3)]
    _, asked = play("get_all_sms", {}, answers=[*pages, {"page": {"messages": []}}])
    assert len({request["connection"] for request in asked}) == 1
    page = {"messages": [{"id": "7" * 6, "date_created": "${now}"}]}
    answers = [{"status": 500}, {"page": page}]
    envelope, asked = play(settings={"resolveSeconds": 5}, answers=answers)
    assert envelope["success"]
    assert [request["method"] for request in asked] == ["POST", "GET"]
    assert asked[0]["connection"] != asked[1]["connection"]


def test_what_comes_unasked_is_no_answer_to_the_next_request(play):
    stray = {"page": {"messages": [{"id": "0bad"}]}, "unasked": True}
    last = {"page": {"messages": [{"id": "0900"}]}}
    first = {"page": {"messages": [], "next": "?PageToken=PA1"}, "then": stray}
    envelope, asked = play("get_all_sms", {}, answers=[first, last])
    assert [message["sid"][-4:] for message in output(envelope)["messages"]] == ["0900"]
    assert asked[0]["connection"] != asked[1]["connection"]


@pytest.mark.parametrize(
    ("answer", "address"),
    [({"page": {"messages": []}}, "url"), ({"status": 404}, "url"), ({}, "mute")],
    ids=["whole", "refused", "never-connected"],
)
def test_connections_end_with_the_call(bizc, host, tmp_path, answer, address):
    case = {"id": "ends", "action": "get_all_sms", "answers": [answer]}
    seconds = 0.2 if address == "mute" else 10
    case["settings"] = {"apiBaseUrl": f"${{{address}}}", "connectTimeoutSeconds": seconds}
    with table.Server(tmp_path) as server:
        settings, _ = server.play("bizagi", case)
        host.run(bizc, [host.call("get_all_sms", {}, settings)])
        assert server.wait_until_nobody_is_connected(5)
        assert len(server.asked("bizagi", case)) == (address == "url")


def test_write_gets_a_connection_of_its_own(installed, host, server):
    folder, _ = installed
    (folder / "actions" / "send-sms.js").write_text(
        """
        const flow = require('bizagi-connector/flow');
        const service = require('twilio-connector/service');
        exports.invoke = flow.action(service.connect, async (inputs, call) => {
          const path = `/2010-04-01/Accounts/${call.settings.accountId}/Messages.json`;
          await call.get(path);
          await call.get(path);
          await call.post(path, {});
          return call.get(path);
        });
        """
    )
    case = {"id": "own", "action": "send_sms", "answers": [{"message": {}, "again": True}]}
    settings, _ = server.play("bizagi", case)
    host.run(folder, [host.call("send_sms", SENT, {**settings, "from": "+15005550006"})])
    first, second, write, last = (request["connection"] for request in server.asked("bizagi", case))
    assert first == second
    assert len({first, write, last}) == 3


@pytest.mark.parametrize("time", ["16:02:61", "16:02:99", "24:02:24", "16:60:24"])
def test_date_with_a_time_that_no_day_has_is_refused(play, time):
    created = f"Tue, 15 May 2018 {time} +0000"
    given, answers = {"sid": SID}, [{"message": {"date_created": created}}]
    refused = error(play("get_sms_information", given, answers=answers)[0])
    assert refused["error"] == "INVALID_ANSWER"
    assert "'date_created' must be a date that exists in the calendar" in refused["message"]


# The host's life: logging, updates in place, several workers, large requests, bad handlers.


@pytest.fixture
def installed(bizc, tmp_path):
    """The package where a host installs it, and the folder in which its log belongs."""
    folder = tmp_path / "server" / "bizagi" / "connectors" / "node" / "twilio" / "1.0"
    shutil.copytree(bizc, folder)
    return folder, tmp_path / "server" / "Temporary" / "Connectors"


def test_log_is_written_where_the_host_asks_for_it(installed, host, sandbox):
    folder, logs = installed
    settings = {**sandbox.settings, "resolveSeconds": 5}
    quiet = host.call("send_sms", SENT, settings)
    host.run(folder, [quiet])
    assert not logs.exists()
    sandbox.fail("throttle", "POST", times=1)
    host.run(folder, [{**quiet, "log": True}])
    sandbox.fail("reset_after", "POST", times=1)
    other = {"to": TO, "body": "Another"}
    host.run(folder, [{**host.call("send_sms", other, settings), "log": "true"}])
    (file,) = logs.iterdir()
    assert file.name == "Tests.log"  # named after the project
    text = file.read_text("utf-8")
    lines = [line.split("] ", 2) for line in text.splitlines()]
    assert [(level, re.sub(r"\d+ ms|RQ\w+", "…", said)) for _, level, said in lines][:3] == [
        ("[INFO", "send_sms attempt 1: HTTP 429 in …, request …"),
        ("[INFO", "send_sms attempt 2: HTTP 201 in …, request …"),
        ("[INFO", "send_sms attempt 1: HTTP none in …, request none"),
    ]
    assert lines[-1][1] == "[WARN"
    for secret in (TO, TO[1:], "Hola", "Another", sandbox.auth_token, settings["accountId"]):
        assert secret not in text


def test_log_that_can_not_be_written_fails_no_call(installed, host, sandbox):
    folder, logs = installed
    logs.parent.mkdir(parents=True)
    logs.write_text("a file, where the folder belongs")
    call = host.call("send_sms", SENT, sandbox.settings, log=True)
    assert [envelope["success"] for envelope in host.run(folder, [call])] == [True]


def test_update_in_place_reaches_every_worker(installed, host, sandbox):
    folder, _ = installed
    listing = host.call("get_all_sms", {}, sandbox.settings)
    clean = host.call("", {}, sandbox.settings, router="cleanAllModulesCache")
    before = host.run(folder, [listing] * 16)
    handler = folder / "actions" / "get-all-sms.js"
    answering = "(globals, name, data, type, LOG, callback) => callback({ updated: true })"
    handler.write_text(f"exports.invoke = {answering};")
    assert host.run(folder, [listing] * 16) == before
    host.run(folder, [clean])
    assert host.run(folder, [listing] * 16) == [{"updated": True}] * 16


def test_request_may_have_ten_megabytes(installed, host, sandbox):
    folder, _ = installed
    large = host.call("send_sms", {"to": TO, "body": "x" * 9_000_000}, sandbox.settings)
    assert error(host.run(folder, [large])[0])["error"] == "INVALID_INPUT"
    call = {"actionname": "send-sms", "data": '"' + "x" * 11_000_000 + '"', "globals": "{}"}
    assert host.service(folder).post("invokeCustomAction", call)[0] == 413


@pytest.mark.parametrize(
    "body",
    [
        "callback({ n: 1 }); callback({ n: 2 });",
        "callback({ n: 1 }); throw new Error('after');",
        "callback({ n: 1 }); setImmediate(() => callback({ n: 2 }));",
        "Promise.resolve().then(() => { callback({ n: 1 }); callback({ n: 2 }); });",
    ],
    ids=["twice", "then-throws", "later", "in-a-promise"],
)
def test_handler_that_answers_twice_is_heard_once(installed, host, sandbox, body):
    folder, _ = installed
    source = f"exports.invoke = (globals, name, data, type, LOG, callback) => {{ {body} }};"
    (folder / "actions" / "send-sms.js").write_text(source)
    assert host.run(folder, [host.call("send_sms", SENT, sandbox.settings)]) == [{"n": 1}]


def test_handler_that_throws_is_answered_for_without_its_words(installed, host, sandbox):
    folder, _ = installed
    source = "exports.invoke = () => { throw new TypeError('+14155550123 hush'); };"
    (folder / "actions" / "send-sms.js").write_text(source)
    (envelope,) = host.run(folder, [host.call("send_sms", SENT, sandbox.settings)])
    assert error(envelope) == {
        "error": "CONNECTOR_ERROR",
        "message": "The connector failed because of its own defect (TypeError).",
        "status": -400,
    }


def test_host_tells_what_a_connector_may_not_do(bizc, tmp_path, node):
    shutil.copytree(bizc, tmp_path / "twilio")
    router = tmp_path / "twilio" / "bizagiRouter.js"
    router.write_text(
        "exports.invokeAction = (globals, name, data, type, callback) => {"
        "  if (name === 'twice') { callback(1); callback(2); }"
        "  if (name === 'writes') { console.log('to stdout'); callback(1); }"
        "  if (name === 'ends') { process.exit(3); }"
        "};"
    )
    with bizagi_host.Host(tmp_path, node) as host:
        for name in ("twice", "writes"):
            call = {"connectorpath": "twilio", "actionname": name, "globals": "{}", "data": "{}"}
            assert host.post("invokeCustomAction", call) == (200, 1)
        missing = {**call, "connectorpath": "elsewhere"}
        status, answer = host.post("invokeCustomAction", missing)
        assert (status, "can't be loaded" in answer["error"]) == (404, True)
        with pytest.raises(ConnectionError):
            host.post("invokeCustomAction", {**call, "actionname": "ends"})
        deadline = time.monotonic() + 10
        while len(host.faults) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
    said = "\n".join(host.faults)
    assert "a connector answered 2 times: twice" in said
    assert "a connector wrote to stdout: to stdout" in said
    assert "a connector ended its process (exit status 3)" in said


def test_host_that_does_not_start_tells_how_it_ended(tmp_path, node):
    (tmp_path / "ends.js").write_text("if (require('cluster').isWorker) process.exit(4);")
    env = {**os.environ, "NODE_OPTIONS": f"--require {tmp_path / 'ends.js'}"}
    with pytest.raises(RuntimeError) as raised, bizagi_host.Host(tmp_path, node, env=env):
        pass
    assert re.fullmatch(
        r"the host does not start \(exit status 1 after \d+ s\): "
        r"a process of the host ended while it started \(exit status 4\)",
        str(raised.value),
    )


# Two identical sends.


@pytest.fixture
def alone(bizc, node, sandbox):
    """Make calls at once in a host with one worker, as `(given, settings)`."""
    with bizagi_host.Host(bizc, node, workers=1) as host:

        def run(*settings):
            def one(changes):
                every = {**sandbox.settings, "from": "+15005550006", **changes}
                call = {"actionname": "send-sms"}
                call["globals"] = json.dumps(bizagi_host.globals_of(MANIFEST, every))
                call["data"] = json.dumps({"inputs": {"input": SENT}})
                return host.post("invokeCustomAction", call)[1]

            with concurrent.futures.ThreadPoolExecutor(len(settings)) as threads:
                return list(threads.map(one, settings))

        yield run
    assert host.faults == []


def test_equal_sends_at_once_never_take_the_same_message(alone, sandbox):
    sandbox.fail("reset_after", "POST", times=3)
    came = alone(*[{"resolveSeconds": 15}] * 6)
    taken = [output(envelope)["sid"] for envelope in came]  # six sends, six messages
    assert len(taken) == len(set(taken)) == 6
    assert set(taken) <= {message["sid"] for message in sandbox.messages}


def test_message_that_was_already_returned_is_not_taken_for_another(alone, sandbox):
    (first,) = alone({"resolveSeconds": 2})
    sandbox.fail("reset_before", "POST", times=1)
    (second,) = alone({"resolveSeconds": 2})
    assert error(second)["error"] == "OUTCOME_UNKNOWN"
    assert output(first)["sid"] not in second["errormessage"]


def test_message_of_an_equal_send_that_is_still_under_way_is_not_taken(
    alone, sandbox, sent, answer_now
):
    sandbox.fail("slow", "POST", times=1, seconds=60)
    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        slow = threads.submit(alone, {"resolveSeconds": 0})
        while not sent():
            time.sleep(0.01)
        sandbox.fail("reset_before", "POST", times=1)
        (lost,) = alone({"resolveSeconds": 1})
        answer_now()
        (first,) = slow.result()
    assert first["success"]
    assert error(lost)["error"] == "OUTCOME_UNKNOWN"
