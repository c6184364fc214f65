"""Compare the connector with a bare loop and with the official library, in one run.

    python benchmarks/run.py [--quick] [--json FILE]

Only ratios are judged: the contenders of a row take turns, so that a noisy machine slows all of
them. The exit status is 1 if a target is missed. --quick judges no target: it only shows that this
file still works.
"""

from __future__ import annotations

import atexit
import base64
import concurrent.futures
import functools
import http.client
import itertools
import json
import os
import random
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
import orjson
import requests
import urllib3
from rich.console import Console
from rich.table import Table
from twilio.rest import Client

from connector_runtime import load

ROOT = Path(__file__).parent.parent
INPUTS = {"from": "+15005550006", "to": "+14155550123", "body": "Hola"}
Contenders = dict[str, Callable[[], Any]]


def account(messages: int) -> str:
    return f"AC{messages:032d}"


@contextmanager
def server(latency_seconds: float = 0) -> Iterator[str]:
    process = subprocess.Popen(
        [sys.executable, ROOT / "benchmarks/server.py", str(latency_seconds)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    try:
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def settings(url: str, messages: int = 0) -> dict[str, Any]:
    return {
        "accountId": account(messages),
        "authToken": "made-up",
        "from": INPUTS["from"],
        "apiBaseUrl": url,
    }


def official(url: str, messages: int = 0) -> Client:
    client = Client(account(messages), "made-up")
    client.api.base_url = url
    return client


def alternate(contenders: Contenders, rounds: int, calls: int = 1) -> dict[str, list[float]]:
    """Measure the contenders in turn: `rounds` times `calls` calls. Return the seconds of a call.

    Each round has another order, which is the same in each run. The order matters if a round has
    only one call: after a contender that waited for a disk, the processor is slower at first.
    """
    chance = random.Random(rounds)
    for contender in contenders.values():
        # The first call is not measured, because it connects
        contender()
    times: dict[str, list[float]] = {name: [] for name in contenders}
    names = list(contenders)
    for _ in range(rounds):
        for name in chance.sample(names, len(names)):
            contender = contenders[name]
            started = time.perf_counter()
            for _ in range(calls):
                contender()
            times[name].append((time.perf_counter() - started) / calls)
    return times


class Report:
    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def times(self, what: str, times: dict[str, list[float]]) -> None:
        for name, values in times.items():
            middle, low, high = statistics.median(values), min(values), max(values)
            text = f"{middle * 1000:.3g} ms ({low * 1000:.3g} to {high * 1000:.3g})"
            self.rows.append({"what": what, "contender": name, "seconds": values, "measured": text})

    def verdict(self, what: str, name: str, value: float, sign: str, target: float) -> None:
        met = value <= target if sign == "≤" else value >= target
        text = f"{value:.3g} (target {sign} {target:g})"
        self.rows.append(
            {"what": what, "contender": name, "value": value, "measured": text, "met": met}
        )

    def finish(self, quick: bool, path: Path | None) -> None:
        """Show the results, write them to `path`, and exit with 1 if a target is missed."""
        self._show()
        if path:
            path.write_text(json.dumps(self.rows, indent=1, ensure_ascii=False) + "\n", "utf-8")
        if not quick and not all(row.get("met", True) for row in self.rows):
            sys.exit(1)

    def _show(self) -> None:
        table = Table(title="Ratios of one run; medians, with the least and the most")
        for column in ("what", "who", "measured", "verdict"):
            table.add_column(column)
        last = None
        for row in self.rows:
            verdict = {True: "met", False: "MISSED", None: ""}[row.get("met")]
            what = row["what"] if row["what"] != last else ""
            table.add_row(what, row["contender"], row["measured"], verdict)
            last = row["what"]
        Console(width=118).print(table)


def command(*measurements: Callable[[Report, bool], None]) -> click.Command:
    """Return the arguments of a benchmark's command line."""

    @click.command()
    @click.option("--quick", is_flag=True, help="Small numbers, no verdict on times.")
    @click.option("--json", "path", type=click.Path(path_type=Path), help="Write the results here.")
    @click.option("--only", help="Only this measurement.")
    def main(quick: bool, path: Path | None, only: str | None) -> None:
        report = Report()
        for measurement in measurements:
            if only in (None, measurement.__name__):
                measurement(report, quick)
        report.finish(quick, path)

    return main


def ratio(times: dict[str, list[float]], above: str, below: str) -> float:
    """Compare two contenders round by round: within a round, the machine has the same speed."""
    pairs = zip(times[above], times[below], strict=True)
    return statistics.median(first / second for first, second in pairs)


def send(report: Report, quick: bool) -> None:
    with server() as url, load(ROOT).connect(settings(url)) as connection:
        session = requests.Session()
        session.auth = (account(0), "made-up")
        client = official(url)
        target = f"{url}/2010-04-01/Accounts/{account(0)}/Messages.json"
        form = {"From": INPUTS["from"], "To": INPUTS["to"], "Body": INPUTS["body"]}
        pool = urllib3.PoolManager()
        headers = urllib3.make_headers(basic_auth=f"{account(0)}:made-up", accept_encoding="gzip")

        def floor() -> None:
            answer = pool.request("POST", target, fields=form, headers=headers,
                                  encode_multipart=False)  # fmt: skip
            orjson.loads(answer.data)

        times = alternate(
            {
                "bare urllib3 and orjson": floor,
                "bare requests": lambda: session.post(target, data=form, timeout=10).json(),
                "connector": lambda: connection.run("send_sms", INPUTS),
                "official library": lambda: client.messages.create(
                    from_=INPUTS["from"], to=INPUTS["to"], body=INPUTS["body"]
                ),
            },
            rounds=2 if quick else 25,
            calls=5 if quick else 100,
        )
        session.close()
        pool.clear()
    report.times("send one SMS", times)
    for name, other, target_ratio in (
        ("connector ÷ urllib3 and orjson", "bare urllib3 and orjson", 1.4),
        ("connector ÷ bare requests", "bare requests", 0.85),
        ("connector ÷ official", "official library", 0.65),
    ):
        report.verdict("send one SMS", name, ratio(times, "connector", other), "≤", target_ratio)


def send_with_key(report: Report, quick: bool) -> None:
    """Compare a send with a key to a send plus one commit of the same durability."""
    numbers = itertools.count()
    with tempfile.TemporaryDirectory() as folder, server() as url:
        twilio = load(ROOT)
        database = sqlite3.connect(Path(folder) / "floor.sqlite", isolation_level=None)
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        database.execute("CREATE TABLE calls (key TEXT PRIMARY KEY, state TEXT)")
        with (
            twilio.connect(settings(url)) as plain,
            twilio.connect(settings(url), ledger=Path(folder) / "sends.sqlite") as keyed,
        ):

            def floor() -> None:
                plain.run("send_sms", INPUTS)
                database.execute("INSERT INTO calls VALUES (?, 'begun')", (f"{next(numbers)}",))

            times = alternate(
                {
                    "without a key": lambda: plain.run("send_sms", INPUTS),
                    "without, and one commit": floor,
                    "with a key": lambda: keyed.run(
                        "send_sms", INPUTS, key=f"order-{next(numbers)}"
                    ),
                },
                rounds=2 if quick else 15,
                calls=5 if quick else 60,
            )
        database.close()
    what = "send one SMS with a key"
    report.times(what, times)
    above = ratio(times, "with a key", "without, and one commit")
    report.verdict(what, "with a key ÷ send and one commit", above, "≤", 1.6)


def stream(report: Report, quick: bool) -> None:
    count = 3_000 if quick else 100_000
    what = f"stream {count:,} messages"
    with server() as url, load(ROOT).connect(settings(url, count)) as connection:
        session = requests.Session()
        session.auth = (account(count), "made-up")
        client = official(url, count)

        def bare() -> None:
            path = f"/2010-04-01/Accounts/{account(count)}/Messages.json?PageSize=1000"
            while path:
                path = session.get(url + path, timeout=10).json()["next_page_uri"]

        def floor() -> None:
            """Read the pages with http.client, without any check."""
            parts = urlsplit(url)
            server_connection = http.client.HTTPConnection(parts.hostname or "", parts.port)
            token = base64.b64encode(f"{account(count)}:made-up".encode()).decode()
            path = f"/2010-04-01/Accounts/{account(count)}/Messages.json?PageSize=1000"
            while path:
                server_connection.request("GET", path, headers={"Authorization": f"Basic {token}"})
                path = orjson.loads(server_connection.getresponse().read())["next_page_uri"]
            server_connection.close()

        def ours() -> None:
            assert sum(1 for _ in connection.stream("get_all_sms")) == count

        def theirs() -> None:
            assert sum(1 for _ in client.messages.stream(page_size=1000)) == count

        times = alternate(
            {
                "http.client and orjson": floor,
                "bare requests": bare,
                "connector": ours,
                "official library": theirs,
            },
            rounds=1 if quick else 7,
        )
        session.close()
    report.times(what, times)
    floor_ratio = ratio(times, "connector", "http.client and orjson")
    report.verdict(what, "connector ÷ http.client and orjson", floor_ratio, "≤", 1.9)
    bare_ratio = ratio(times, "connector", "bare requests")
    report.verdict(what, "connector ÷ bare requests", bare_ratio, "≤", 1.0)
    faster = ratio(times, "official library", "connector")
    report.verdict(what, "official ÷ connector", faster, "≥", 2.5)


def probe(what: str, url: str, count: int) -> dict[str, int]:
    command = [sys.executable, "benchmarks/probe.py", what, url, account(count)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    output = subprocess.check_output(command, cwd=ROOT, env=environment, text=True)
    measured: dict[str, int] = json.loads(output)
    assert measured["count"] == count
    return measured


def command_line(url: str, *arguments: str) -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as config:
        # A JSON file is also a YAML file
        json.dump({"environments": {"test": settings(url)}}, config)
        config.flush()
        command = ["-m", "connector_runtime", *arguments, "--config", config.name]
        python(*command)


def python(*arguments: str) -> None:
    subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        check=True,
        stdout=subprocess.DEVNULL,
        env=as_installed(),
    )


@functools.cache
def as_installed() -> dict[str, str]:
    """Return the environment of a process that caches compiled files, as an installation does.

    It names no file of certificates, because only one contender would read it and none uses TLS.
    """
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder)
    left_out = {"PYTHONDONTWRITEBYTECODE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"}
    own = {name: value for name, value in os.environ.items() if name not in left_out}
    return {**own, "PYTHONPYCACHEPREFIX": folder}


def memory(report: Report, quick: bool) -> None:
    few, many = (2_000, 5_000) if quick else (10_000, 1_000_000)
    with server() as url:
        for name, contender in (("stream", "stream"), ("run --format jsonl", "jsonl")):
            what = f"peak memory of {name}"
            small, large = (
                probe(contender, url, count)["peak_kilobytes"] / 1024 for count in (few, many)
            )
            for count, size in ((few, small), (many, large)):
                report.rows.append(
                    {
                        "what": what,
                        "contender": f"{count:,} messages",
                        "value": size,
                        "measured": f"{size:.1f} MB",
                    }
                )
            report.verdict(what, "MB more", abs(large - small), "≤", 5)
            report.verdict(what, "MB in all", max(small, large), "≤", 60)
        count = 3_000 if quick else 100_000
        what = f"the whole list of {count:,}"
        bare = probe("bare", url, count)["grown_kilobytes"]
        ours = probe("run", url, count)["grown_kilobytes"]
        report.verdict(what, "memory ÷ bare dictionaries", ours / bare, "≤", 1.3)


def whole_processes(report: Report, quick: bool) -> None:
    rounds = 1 if quick else 15
    what = "import and load the folder"
    times = alternate(
        {
            "import requests, yaml": lambda: python("-c", "import requests, yaml"),
            "connector": lambda: python("-c", "from connector_runtime import load; load('.')"),
        },
        rounds,
    )
    report.times(what, times)
    slower = ratio(times, "connector", "import requests, yaml")
    report.verdict(what, "connector ÷ imports", slower, "≤", 1.25)

    what = "run send_sms, whole process"
    with server() as url:
        arguments = [x for name, value in INPUTS.items() for x in ("--set", f"{name}={value}")]
        times = alternate(
            {
                "import and send with bare requests": lambda: python(
                    "-c",
                    "import click, requests, orjson\n"
                    f"target = '{url}/2010-04-01/Accounts/{account(0)}/Messages.json'\n"
                    "requests.post(target, data={'To': '+14155550123'}, timeout=10).json()",
                ),
                "connector": lambda: command_line(url, "run", "send_sms", *arguments),
            },
            rounds,
        )
    report.times(what, times)
    slower = ratio(times, "connector", "import and send with bare requests")
    report.verdict(what, "connector ÷ imports and a bare send", slower, "≤", 1.5)


def packages(report: Report, quick: bool) -> None:
    # Build the package now, in another process; otherwise an old package would be measured.
    subprocess.run([sys.executable, "build.py"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    package = max((ROOT / "dist").glob("twilio-*.zip"), key=os.path.getmtime)
    rounds = 1 if quick else 9
    times = alternate({"folder": lambda: load(ROOT), "package": lambda: load(package)}, rounds)
    report.times("load a package", times)
    slower = ratio(times, "package", "folder")
    report.verdict("load a package", "package ÷ folder", slower, "≤", 1.5)


def threads(report: Report, quick: bool) -> None:
    calls = 2 if quick else 40
    with server(0.05) as url, load(ROOT).connect(settings(url)) as connection:

        def one() -> None:
            for _ in range(calls):
                connection.run("send_sms", INPUTS)

        with concurrent.futures.ThreadPoolExecutor(32) as pool:

            def all_at_once() -> None:
                for done in [pool.submit(one) for _ in range(32)]:
                    done.result()

            times = alternate({"one thread": one, "32 threads": all_at_once}, 1 if quick else 5)
    report.times(f"{calls} sends a thread, 50 ms each", times)
    speed = 32 * ratio(times, "one thread", "32 threads")
    report.verdict(f"{calls} sends a thread, 50 ms each", "times one thread", speed, "≥", 28)


if __name__ == "__main__":
    command(send, send_with_key, stream, memory, whole_processes, packages, threads)()
