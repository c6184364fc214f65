"""Many clients repeat their requests to a proxy that is killed and restarted, for `make soak`.

`python -m tests.engines.proxy_endurance --clients 200 --seconds 60`
"""

import argparse
import collections
import concurrent.futures
import random
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import requests

from tests.conftest import ROOT
from tests.faults.endurance import OF_READS, OF_SENDS
from twilio_sandbox import Sandbox

# The smallest value that the connector allows
RESEND_SECONDS = 120
# In production this is 40 s, a bit less than the 45 s after which Spiff Arena stops waiting
COMMAND_SECONDS = 4
CLIENT_SECONDS = 4.5


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--clients", type=int, default=200)
    options.add_argument("--seconds", type=float, default=60)
    options.add_argument("--faults", type=float, nargs="*", default=[0, 0.1], metavar="CHANCE")
    options.add_argument("--seed", type=int, default=random.randrange(10**6))
    chosen = options.parse_args()
    for faults in chosen.faults:
        print(f"a fault in {faults:.0%} of the requests, seed {chosen.seed}", flush=True)
        with tempfile.TemporaryDirectory() as folder, Sandbox(step_seconds=3600) as sandbox:
            soak(chosen, faults, Path(folder), sandbox)


def started(folder, sandbox, port=0):
    config = folder / "connector.yaml"
    config.write_text(
        "environments:\n  soak:\n    from: '+15005550006'\n"
        f"    accountId: {sandbox.account_sid}\n    authToken: {sandbox.auth_token}\n"
        f"    apiBaseUrl: {sandbox.url}\n    resendAfterSeconds: {RESEND_SECONDS}\n"
        "    timeoutSeconds: 2\n    resolveSeconds: 4\n    maxAttempts: 2\n"
    )
    line = [sys.executable, "-m", "connector_engines", "proxy", "--port", str(port)]
    line += ["--config", str(config), "--environment", "soak"]
    line += ["--command-seconds", str(COMMAND_SECONDS)]
    line += ["--ledger", str(folder / "ledger.sqlite")]
    with open(folder / "log", "a") as log:
        process = subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True)
    process.url = process.stdout.readline().split()[0]
    return process


def is_repeated(status):
    """Whether Spiff Arena repeats a command after this HTTP status."""
    return status == 429 or status >= 500


def soak(chosen, faults, folder, sandbox):
    chance, lock = random.Random(chosen.seed), threading.Lock()
    process = started(folder, sandbox)
    url = process.url
    stop_at = time.monotonic() + chosen.seconds
    give_up_at = stop_at + RESEND_SECONDS + 120
    told_by = [collections.Counter() for _ in range(chosen.clients)]

    def maybe_fail():
        with lock:
            if chance.random() < faults:
                kind, options = chance.choice(OF_SENDS)
                sandbox.fail(kind, method="POST", **options)
            if chance.random() < faults:
                sandbox.fail("late", method="POST", seconds=chance.uniform(0, 1.5))
            if chance.random() < faults:
                kind, options = chance.choice(OF_READS)
                sandbox.fail(kind, method="GET", **options)

    def ask(number, key):
        """Request a send once. Return the SID of its message, or None if that is not known yet."""
        inputs = {"to": f"+1415555{number:04}", "body": f"made up {key}", "spiff__task_id": key}
        try:
            answer = requests.post(
                f"{url}/v1/do/twilio/send_sms", json=inputs, timeout=CLIENT_SECONDS
            )
        except requests.RequestException as error:
            # This also happens while the proxy is not running
            told_by[number][type(error).__name__] += 1
            return None
        if answer.status_code != 200:
            told_by[number][f"HTTP {answer.status_code}"] += 1
            assert answer.status_code == 503, answer.status_code
            assert answer.headers["Retry-After"]
            return None
        response = answer.json()["command_response"]
        status = response["http_status"]
        if status == 201:
            told_by[number]["201"] += 1
            return response["body"]["sid"]
        told_by[number][f"{status} {response['body']['code']}"] += 1
        if is_repeated(status):
            made = [
                message["sid"] for message in sandbox.messages if message["body"] == inputs["body"]
            ]
            assert not made, f"{key} was made, and its caller told to repeat"
        else:
            assert status == 409, status
        return None

    def client(number):
        """Send one message after another. At the end, repeat the requests without a known SID."""
        sids = {}
        while time.monotonic() < stop_at:
            key = f"{number}-{len(sids)}"
            for _ in range(4):
                maybe_fail()
                sids[key] = ask(number, key)
                if sids[key] is not None or time.monotonic() > stop_at:
                    break
                time.sleep(0.5)
        while None in sids.values() and time.monotonic() < give_up_at:
            for key, sid in sids.items():
                sids[key] = ask(number, key) if sid is None else sid
            time.sleep(2)
        return sids

    with concurrent.futures.ThreadPoolExecutor(chosen.clients) as pool:
        clients = [pool.submit(client, number) for number in range(chosen.clients)]
        time.sleep(chosen.seconds * chance.uniform(0.4, 0.6))
        process.kill()
        process.wait()
        process = started(folder, sandbox, port=int(url.rpartition(":")[2]))
        time.sleep(max(0, stop_at - time.monotonic()))
        sandbox.clear_faults()
        told = {key: sid for client in clients for key, sid in client.result().items()}
    process.terminate()
    log = (folder / "log").read_text()
    assert process.wait(60) == 0, log[-2000:]
    place = max(log.find("Traceback"), log.find("unexpected"))
    assert place < 0, log[max(0, place - 200) : place + 3000]
    made = collections.Counter(
        message["body"].removeprefix("made up ") for message in sandbox.messages
    )
    sid_of = {
        message["body"].removeprefix("made up "): message["sid"] for message in sandbox.messages
    }
    assert set(made.values()) == {1}, "a key has more than one message"
    assert told == sid_of, "a caller was not told the truth"
    answers = sum(told_by, collections.Counter())
    print(f"{len(told)} keys, one message each; answers: {dict(answers.most_common())}")


if __name__ == "__main__":
    main()
