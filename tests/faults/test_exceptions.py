"""What an error carries with it, and what urllib3 logs: never a token, a number or a text."""

import concurrent.futures
import logging
import traceback

import pytest

from connector_runtime import ConnectorError, errors
from tests.conftest import ROOT
from tests.faults import server as faults
from tests.faults.test_hostile_answers import head, send, whole

NUMBER, TEXT = "+14155550177", "a text that is nobody's business"
SECRETS = (faults.TOKEN, NUMBER.strip("+"), faults.SENDER.strip("+"), TEXT)
OURS = tuple(str(ROOT / folder) for folder in ("connector_runtime", "actions", "auth"))

# (kind, phase and act, or an answer)
SITUATIONS = {
    "refused": ("plain", None, None),
    "reset at once": ("plain", ("before the request", faults.reset), None),
    "no handshake": ("TLS", ("origin's hello", faults.close), None),
    "no certificate": ("TLS", ("origin", "unknown authority"), None),
    "proxy refuses": ("CONNECT tunnel", ("refusal", b"HTTP/1.1 502 Bad\r\n\r\n"), None),
    "proxy closes": ("CONNECT tunnel", ("CONNECT read", faults.close), None),
    "closed before the answer": ("plain", ("request read", faults.close), None),
    "closed in the tunnel": ("CONNECT tunnel", ("request read", faults.close), None),
    "closed in two layers": ("https proxy", ("request read", faults.close), None),
    "no answer in time": ("plain", ("request read", faults.hang), None),
    "garbage": ("plain", ("request read", faults.garbage), None),
    "half a body": ("plain", ("within the body", faults.close), None),
    "HTML": ("plain", None, send(lambda form: whole(b"<html>" + TEXT.encode()))),
    "half of JSON": ("plain", None, send(lambda form: whole(b'{"body": "' + TEXT.encode()))),
    "no gzip": (
        "plain", None,
        send(lambda form: whole(TEXT.encode(), b"Content-Encoding: gzip"))),
    "another's": (
        "plain", None,
        send(lambda form: whole(b'{"to": "%b", "body": "%b", "direction": "outbound-api"}'
                                % (NUMBER.encode()[:-1] + b"8", TEXT.encode())))),
    "refusal that quotes": (
        "plain", None,
        send(lambda form: whole(b'{"code": 21211, "message": "%b"}' % NUMBER.encode(),
                                status=b"400 Bad Request"))),
    "refusal of the token": (
        "plain", None, send(lambda form: whole(b"{}", status=b"401 Unauthorized"))),
    "failure": (
        "plain", None, send(lambda form: whole(TEXT.encode(), status=b"500 Server Error"))),
    "redirect": (
        "plain", None,
        send(lambda form: head(b"Content-Length: 0", b"Location: /?" + NUMBER.encode(),
                               status=b"302 Found"))),
    "list of wrong messages": (
        "plain", None,
        send(lambda form: whole(b'{"next_page_uri": null, "messages": [{"sid": 1, "to": "%b",'
                                b' "direction": "outbound-api"}]}' % NUMBER.encode()))),
    "bad header": (
        "plain", None, send(lambda form: whole(b"{}", b"no header at all", b": nameless"))),
}  # fmt: skip
CALLS = {
    "send_sms": {"to": NUMBER, "body": TEXT},
    "get_sms_information": {"sid": "SM" + 32 * "c"},
    "get_all_sms": {},
    "stream": None,
    "check": None,
}


def failures(twilio, certificates, situation):
    kind, fault, respond = situation
    acts, more = {}, {}
    if fault and fault[0] == "origin":
        more = {"origin": certificates.bad[fault[1]]}
    elif fault and fault[0] == "refusal":
        more = {"refusal": fault[1]}
    elif fault:
        acts = dict([fault])
    with faults.Server(kind, certificates, acts, respond=respond, **more) as server:
        url = server.base_url if fault or respond else "http://127.0.0.1:1"
        options = {"connectTimeoutSeconds": 0.5, "timeoutSeconds": 0.5, "maxAttempts": 2,
                   "resolveSeconds": 0.5}  # fmt: skip
        with faults.connected(twilio, url, server.environment, **options) as connection:
            for action, inputs in CALLS.items():
                try:
                    if action == "check":
                        connection.check()
                    elif action == "stream":
                        list(connection.stream("get_all_sms"))
                    else:
                        connection.run(action, inputs)
                except ConnectorError as error:
                    yield action, error


@pytest.fixture(scope="module")
def raised(twilio_folder, certificates):
    """Every error of every situation, by name; what urllib3 logs meanwhile under 'log'."""
    lines = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(handler.format(record))
    handler.setFormatter(logging.Formatter("%(name)s %(message)s"))
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            futures = {
                name: pool.submit(
                    lambda s: list(failures(twilio_folder, certificates, s)), situation
                )
                for name, situation in SITUATIONS.items()
            }
            return {**{name: future.result() for name, future in futures.items()}, "log": lines}
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


def chain(error):
    """The error and all that hangs on it."""
    waiting, known = [error], []
    while waiting:
        current = waiting.pop()
        if current is not None and current not in known:
            known.append(current)
            waiting += [current.__cause__, current.__context__]
    return known


def hidden_in(value, depth=6):
    """Every text and all bytes that can be reached from an object's attributes and items."""
    if isinstance(value, str | bytes):
        yield value if isinstance(value, str) else value.decode("latin-1")
    elif depth and isinstance(value, dict):
        for name, item in value.items():
            yield from hidden_in(name, depth - 1)
            yield from hidden_in(item, depth - 1)
    elif depth and isinstance(value, list | tuple | set):
        for item in value:
            yield from hidden_in(item, depth - 1)
    elif depth and value is not None and not isinstance(value, int | float | type):
        yield from hidden_in(getattr(value, "args", None), depth - 1)
        yield from hidden_in(getattr(value, "__dict__", None), depth - 1)


@pytest.mark.parametrize("name", SITUATIONS)
def test_no_error_carries_a_secret(raised, name):
    assert "send_sms" in dict(raised[name])
    for action, error in raised[name]:
        for link in chain(error):
            texts = [str(link), repr(link), *hidden_in(link)]
            for secret in SECRETS:
                assert not any(secret in text for text in texts), f"{action}: {link!r}"


def shown_locals(error):
    """Where and what the variables of our own frames are, as error reporters print them."""
    for link in chain(error):
        shown = traceback.TracebackException(
            type(link), link, link.__traceback__, capture_locals=True
        )
        for frame in shown.stack:  # the caller's own frame is the caller's
            if frame.filename.startswith(OURS):
                for name, text in (frame.locals or {}).items():
                    yield f"{frame.filename}:{frame.lineno}: {name}", text


@pytest.mark.parametrize("name", SITUATIONS)
def test_no_local_of_our_frames_shows_a_secret(raised, name):
    for action, error in raised[name]:
        for where, text in shown_locals(error):
            assert not [secret for secret in SECRETS if secret in text], f"{action}: {where}"


WRONG = {
    "settings": lambda twilio: twilio.connect(
        {"accountId": "x", "authToken": faults.TOKEN, "from": NUMBER}
    ),
    "run with settings": lambda twilio: twilio.run(
        "send_sms", {"to": NUMBER, "body": TEXT}, {"accountId": "x", "authToken": faults.TOKEN}
    ),
    "input": lambda twilio: twilio.run(
        "send_sms",
        {"to": NUMBER, "body": 200 * TEXT},
        {"accountId": faults.ACCOUNT, "authToken": faults.TOKEN, "from": faults.SENDER},
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_from_the_start_shows_no_secret_either(twilio_folder, name):
    with pytest.raises(ConnectorError) as caught:
        WRONG[name](twilio_folder)
    texts = [text for link in chain(caught.value) for text in hidden_in(link)]
    texts += [f"{where}: {text}" for where, text in shown_locals(caught.value)]
    assert not [text for text in texts if any(secret in text for secret in SECRETS)]


def test_what_is_logged_shows_no_secret(raised):
    assert any(line.startswith("connector_runtime") for line in raised["log"])
    for secret in (*SECRETS, faults.TOKEN, "%2B1"):
        assert not [line for line in raised["log"] if secret in line]


def test_a_check_that_succeeds_logs_no_number(twilio_folder, sandbox, caplog):
    caplog.set_level("DEBUG")
    with twilio_folder.connect(sandbox.settings) as connection:
        assert connection.check()
    assert "connector_runtime" in caplog.text
    assert sandbox.settings["from"].strip("+") not in caplog.text
    assert sandbox.auth_token not in caplog.text


def test_the_error_keeps_what_helps(raised):
    """A cause without its words would be as good as none."""
    error = dict(raised["closed before the answer"])["send_sms"]
    assert isinstance(error, errors.OutcomeUnknown)
