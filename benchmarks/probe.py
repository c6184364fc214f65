"""Measurements that need a new process: peak memory in kB, and the memory of a list.

probe.py stream URL ACCOUNT          our stream, each message dropped
probe.py run URL ACCOUNT             our whole list
probe.py bare URL ACCOUNT            the same messages as bare dictionaries
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
from typing import Any


def current_kilobytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() // 1024


def peak_kilobytes() -> int:
    with open("/proc/self/status") as file:
        return int(next(line for line in file if line.startswith("VmHWM")).split()[1])


def command_line(settings: dict[str, str]) -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as config:
        # A JSON file is also a YAML file
        json.dump({"environments": {"test": settings}}, config)
        config.flush()
        command = [sys.executable, "-m", "connector_runtime", "run", "get_all_sms"]
        command += ["--format", "jsonl", "--config", config.name]
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert process.stdout
        count = sum(1 for _ in process.stdout)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
    print(json.dumps({"count": count, "peak_kilobytes": usage.ru_maxrss}))


def main(what: str, url: str, account: str) -> None:
    settings = {"accountId": account, "authToken": "made-up", "apiBaseUrl": url}
    kept: Any = None
    if what == "jsonl":
        command_line(settings)
        return
    if what == "bare":
        import requests

        session = requests.Session()
        session.auth = (account, "made-up")
        path = f"/2010-04-01/Accounts/{account}/Messages.json?PageSize=1000"
        before = current_kilobytes()
        kept = []
        while path:
            page = session.get(url + path).json()
            kept += page["messages"]
            path = page["next_page_uri"]
        count = len(kept)
    else:
        from connector_runtime import load

        with load(".").connect(settings) as connection:
            before = current_kilobytes()
            if what == "stream":
                count = sum(1 for _ in connection.stream("get_all_sms"))
            else:
                kept = connection.run("get_all_sms")["messages"]
                count = len(kept)
    print(
        json.dumps(
            {
                "count": count,
                "grown_kilobytes": current_kilobytes() - before,
                "peak_kilobytes": peak_kilobytes(),
            }
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
