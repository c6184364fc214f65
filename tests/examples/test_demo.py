import re
import subprocess
import sys


def test_the_demo_sets_an_account_up_step_by_step_and_sends(root):
    done = subprocess.run(
        [sys.executable, root / "examples" / "demo.py"],
        capture_output=True, check=False, encoding="utf-8", timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    checks = re.findall(r"^Failing: \d of 11|^Everything is right", done.stdout, re.MULTILINE)
    assert checks == [*(f"Failing: {count} of 11" for count in (3, 2, 1)), "Everything is right"]
    first = done.stdout.partition("── The first SMS")[2]
    assert re.search(r"│ status +│ delivered +│", first)
    assert "Traceback" not in done.stdout
    for status in re.findall(r"\(exit status (\d)\)", done.stdout):
        assert status == "3"  # what is refused, and what fails of a check
