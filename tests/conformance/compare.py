"""Where two unpacked Bizagi packages do something else, as far as the table shows.

    python tests/conformance/compare.py OLD NEW

Prints [[case, what differs], …] as JSON. A case that the old package does not pass either is left
out: the table is of the new one.
"""

import concurrent.futures
import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from connector_build import bizagi_host
from tests.conformance import table


def outcomes(package, server, name):
    """What comes of each case, without what differs from run to run."""
    with bizagi_host.Host(Path(package), env=server.environment) as host:

        def one(case):
            settings, given = server.play(name, case)
            call = {
                "actionname": case["action"].replace("_", "-"),
                "globals": json.dumps(bizagi_host.globals_of(table.MANIFEST, settings)),
                "data": json.dumps({"inputs": {"input": given}}),
            }
            _, envelope = host.post("invokeCustomAction", call)
            text = json.dumps([envelope, server.asked(name, case)], sort_keys=True)
            text = text.replace(table.account(name, case), "AC")
            answer, asked = json.loads(text)
            forms = [[request["method"], request["path"], request["form"]] for request in asked]
            # How often something is asked again is partly a matter of chance.
            forms = [form for place, form in enumerate(forms) if form not in forms[:place]]
            outputs = answer["response"]["outputs"]
            return {
                "output": _undated(outputs["output"]),
                "error": outputs["error"],
                "requests": forms,
            }

        with concurrent.futures.ThreadPoolExecutor(8) as threads:
            return list(threads.map(one, table.cases()))


def _undated(value):
    if isinstance(value, dict):
        return {k: bool(v) if k.startswith("date_") else _undated(v) for k, v in value.items()}
    return [_undated(item) for item in value] if isinstance(value, list) else value


def main(old, new):
    differences = []
    with tempfile.TemporaryDirectory() as folder, table.Server(Path(folder)) as server:
        both = outcomes(old, server, "old"), outcomes(new, server, "new")
    for case, before, after in zip(table.cases(), *both, strict=True):
        for name in ("output", "error", "requests"):
            if before[name] != after[name]:
                differences.append([case["id"], f"another {name.rstrip('s')}"])
    print(json.dumps(differences))


if __name__ == "__main__":
    main(*sys.argv[1:])
