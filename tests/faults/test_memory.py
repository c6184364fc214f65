"""However much an answer holds, reading it takes a bounded amount of memory."""

import gc
import gzip
import json
import subprocess
import sys

import pytest

from tests.conftest import MANIFEST, ROOT
from tests.faults import server as faults
from tests.faults.test_hostile_answers import (
    ANSWERS,
    MEBI,
    bomb,
    chunked,
    compressed,
    head,
    repeated,
    send,
    whole,
)

OPTIONS = {entry["name"] for entry in MANIFEST["options"]}

# A process of its own makes one call and says by how much its memory grew at the most.
CALL = """
import json, resource, sys, time
from connector_runtime import ConnectorError, load

settings, action, inputs = json.load(sys.stdin)
connection = load({root!r}).connect(settings)
try:  # everything that is imported on the way is in memory before
    connection.run("send_sms", {{"to": "+14155550123", "body": "the first"}})
except ConnectorError as error:
    sys.exit(repr(error))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
started = time.perf_counter()
try:
    output = connection.run(action, inputs)
    said = "returned"
except ConnectorError as error:
    said = error.outcome
seconds = time.perf_counter() - started
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(json.dumps([said, seconds, grown / 1024]))
"""


def called(certificates, respond, action, inputs, **options):
    with faults.Server("plain", certificates) as server:

        def first_honest(wire, form):
            (faults.answer if len(server.arrived) == 1 else respond)(wire, form)

        server.respond = first_honest
        settings = {
            "accountId": faults.ACCOUNT, "authToken": faults.TOKEN, "from": faults.SENDER,
            "apiBaseUrl": server.base_url, "maxAttempts": 1, "timeoutSeconds": 4,
            **{name: value for name, value in options.items() if name in OPTIONS},
        }  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-c", CALL.format(root=str(ROOT))],
            input=json.dumps([settings, action, inputs]), capture_output=True, text=True,
            timeout=60, check=False, cwd=ROOT,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    "name",
    [
        "a gzip bomb",
        "a gzip bomb in a gzip",
        "an endless body",
        "an endless header",
        "a chunk of 10^15",
        "Content-Length 10^15",
        "a refusal with an endless body",
    ],
)
def test_the_answer_to_a_send_is_read_in_a_few_megabytes(certificates, name):
    respond, expected = ANSWERS[name]
    said, seconds, megabytes = called(
        certificates, respond, "send_sms", {"to": "+14155550123", "body": "x"}, resolveSeconds=0
    )
    assert said in expected
    assert megabytes < 12, f"{megabytes:.0f} MB"
    assert seconds < 4 + 10


PAGES = {
    "a gzip bomb": send(lambda form: compressed(bomb())),
    "an endless body": repeated(lambda form: (head(), 65536 * b" ")),
    "an endless body in chunks": repeated(
        lambda form: (chunked(b"2")[:-3], b"10000\r\n" + 65536 * b" " + b"\r\n")
    ),
}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_read_up_to_64_mebibytes(certificates, name):
    said, _, megabytes = called(certificates, PAGES[name], "get_all_sms", {})
    assert said == "not_sent"
    assert megabytes < 3 * 64, f"{megabytes:.0f} MB"


def test_a_page_of_64_mebibytes_is_taken(certificates):
    page = b'{"messages": [], "next_page_uri": null}'
    full = send(lambda form: whole(page + b" " * (64 * MEBI - len(page))))
    assert called(certificates, full, "get_all_sms", {}, timeoutSeconds=30)[0] == "returned"
    over = send(lambda form: whole(page + b" " * (64 * MEBI - len(page) + 1)))
    assert called(certificates, over, "get_all_sms", {}, timeoutSeconds=30)[0] == "not_sent"


def test_no_page_is_held_while_the_next_is_fetched(certificates, twilio_folder):
    held = []

    def respond(wire, form):
        gc.collect()
        lists = (tracked for tracked in gc.get_objects() if type(tracked) is list and tracked)
        held.append(sum(type(e[0]) is dict and e[0].get("body") == "of a page" for e in lists))
        number = len(server.arrived)
        form = {"To": "+14155550123", "Body": "of a page"}
        following = f"/2010-04-01/Accounts/{faults.ACCOUNT}/Messages.json?Page={number}"
        page = {
            "messages": [faults.message(form) for _ in range(50)],
            "next_page_uri": following if number < 5 else None,
        }
        wire.send(compressed(gzip.compress(json.dumps(page).encode(), 1)))

    with (
        faults.Server("plain", certificates, respond=respond) as server,
        faults.connected(twilio_folder, server.base_url, {}) as connection,
    ):
        assert sum(1 for _ in connection.stream("get_all_sms")) == 250
    assert held == [0, 0, 0, 0, 0]
