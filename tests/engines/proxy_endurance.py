"""Many clients of a proxy that is killed and started again, and repeat: a part of `make soak`.

`python -m tests.engines.proxy_endurance --clients 200 --seconds 60`
"""

import argparse
import collections
import concurrent.futures
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import requests

from tests.conftest import ROOT
from twilio_sandbox import Sandbox

RESEND_SECONDS = 120  # the least that the connector allows
BUSY = (429, 503)


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--clients", type=int, default=200)
    options.add_argument("--seconds", type=float, default=60)
    options.add_argument("--seed", type=int, default=random.randrange(10**6))
    chosen = options.parse_args()
    print(f"seed {chosen.seed}")
    with tempfile.TemporaryDirectory() as folder, Sandbox(step_seconds=3600) as sandbox:
        soak(chosen, Path(folder), sandbox)


def started(folder, sandbox, port=0):
    config = folder / "connector.yaml"
    config.write_text(
        "environments:\n  soak:\n    from: '+15005550006'\n"
        f"    accountId: {sandbox.account_sid}\n    authToken: {sandbox.auth_token}\n"
        f"    apiBaseUrl: {sandbox.url}\n    resendAfterSeconds: {RESEND_SECONDS}\n"
    )
    line = [sys.executable, "-m", "connector_engines", "proxy", "--port", str(port)]
    line += ["--config", str(config), "--environment", "soak"]
    line += ["--ledger", str(folder / "ledger.sqlite")]
    with open(folder / "log", "a") as log:
        process = subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True)
    process.url = process.stdout.readline().split()[0]
    return process


def soak(chosen, folder, sandbox):
    chance = random.Random(chosen.seed)
    process = started(folder, sandbox)
    url = process.url
    stop_at = time.monotonic() + chosen.seconds
    give_up_at = stop_at + RESEND_SECONDS + 120

    def one_send(key):
        """Ask until the answer is a message, and return its SID."""
        inputs = {"to": "+14155550123", "body": f"made up {key}", "spiff__task_id": key}
        while time.monotonic() < give_up_at:
            try:
                answer = requests.post(f"{url}/v1/do/twilio/send_sms", json=inputs, timeout=45)
                if answer.status_code == 200:
                    response = answer.json()["command_response"]
                    if response["http_status"] == 201:
                        return response["body"]["sid"]
                elif answer.status_code not in BUSY:
                    raise AssertionError(f"HTTP {answer.status_code}")
            except requests.RequestException:
                pass
            time.sleep(0.5)
        return None

    def client(number):
        sids = {}
        while time.monotonic() < stop_at:
            key = f"{number}-{len(sids)}"
            sids[key] = one_send(key)
        return sids

    with concurrent.futures.ThreadPoolExecutor(chosen.clients) as pool:
        clients = [pool.submit(client, number) for number in range(chosen.clients)]
        time.sleep(chosen.seconds * chance.uniform(0.4, 0.6))
        process.kill()
        process.wait()
        process = started(folder, sandbox, port=int(url.rpartition(":")[2]))
        told = {key: sid for each in clients for key, sid in each.result().items()}
    process.terminate()
    assert process.wait(60) == 0, (folder / "log").read_text()[-2000:]
    made = collections.Counter(each["body"].removeprefix("made up ") for each in sandbox.messages)
    sid_of = {each["body"].removeprefix("made up "): each["sid"] for each in sandbox.messages}
    assert set(made.values()) == {1}, "a key has more than one message"
    assert told == sid_of, "a caller was not told the truth"
    print(f"{len(told)} keys, one message each")


if __name__ == "__main__":
    main()
