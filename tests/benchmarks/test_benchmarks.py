import json
import os
import subprocess
import sys


def environment(root):
    """Coverage would slow down what is measured, and these lines are not counted."""
    inherited = {name: value for name, value in os.environ.items() if "COVERAGE" not in name}
    return {**inherited, "PYTHONPATH": str(root)}


def test_the_benchmarks_run_on_small_numbers_and_report_every_target(root, tmp_path):
    """Times are not judged here: `make bench` does, by ratios."""
    results = tmp_path / "results.json"
    subprocess.run(
        [sys.executable, "benchmarks/run.py", "--quick", "--json", results],
        cwd=root, check=True, timeout=240, stdout=subprocess.DEVNULL,
        env=environment(root),
    )  # fmt: skip
    rows = json.loads(results.read_text("utf-8"))
    assert len([row for row in rows if "met" in row]) == 16
    assert {type(row["met"]) for row in rows if "met" in row} == {bool}


def test_the_benchmarks_of_the_engine_run_on_small_numbers(root, tmp_path):
    results = tmp_path / "results.json"
    subprocess.run(
        [sys.executable, "benchmarks/engine.py", "--quick", "--json", results],
        cwd=root, check=True, timeout=240, stdout=subprocess.DEVNULL,
        env=environment(root),
    )  # fmt: skip
    rows = json.loads(results.read_text("utf-8"))
    assert len([row for row in rows if "met" in row]) == 18
