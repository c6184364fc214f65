import os
import shutil
import subprocess
from pathlib import Path

import pytest

TESTS = Path(__file__).with_name("node_library.test.js")


def run(*command, **options):
    return subprocess.run(
        [str(part) for part in command], capture_output=True, check=False, text=True, **options
    )


def test_twilios_library_for_node_works_with_the_sandbox(sandbox, tmp_path):
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("Node.js and npm are not installed")
    if int(run(node, "--version").stdout.lstrip("v").partition(".")[0]) < 20:
        pytest.skip("twilio 6 needs Node.js 20 or newer")
    installed = run(
        npm, "install", "--no-save", "--no-audit", "--no-fund", "--ignore-scripts",
        "--prefix", tmp_path, "twilio@6", timeout=240,
    )  # fmt: skip
    if installed.returncode:
        reason = [line for line in installed.stderr.splitlines() if line.strip()][:1]
        pytest.skip(f"npm can't install twilio here: {reason}")
    environment = {
        name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")
    }
    environment |= {
        "NODE_PATH": str(tmp_path / "node_modules"),
        "SANDBOX_URL": sandbox.url,
        "ACCOUNT_SID": sandbox.account_sid,
        "AUTH_TOKEN": sandbox.auth_token,
    }
    done = run(node, "--test", TESTS, env=environment, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "# pass 8" in done.stdout
