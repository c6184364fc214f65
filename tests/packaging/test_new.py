import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(sys.executable).with_name("connector")


def new(folder, *arguments):
    return subprocess.run(
        [PROGRAM, "new", *arguments], cwd=folder, capture_output=True, check=False, text=True
    )


@pytest.mark.parametrize("name", ["Weather", "my-weather", "1st", "a__b", "../a", ""])
def test_a_name_that_is_none_is_refused_and_nothing_written(tmp_path, name):
    done = new(tmp_path, name)
    assert (done.returncode, "with _ between words" in done.stderr) == (2, True)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_holds_something_is_left_as_it_is(tmp_path):
    (tmp_path / "weather").mkdir()
    (tmp_path / "weather" / "mine.txt").write_text("mine")
    done = new(tmp_path, "weather")
    assert (done.returncode, "'weather' is not empty" in done.stderr) == (2, True)
    assert [path.name for path in (tmp_path / "weather").iterdir()] == ["mine.txt"]


def test_what_is_written_says_what_comes_next(tmp_path):
    done = new(tmp_path, "my_weather", "--into", "elsewhere")
    assert done.returncode == 0, done.stderr
    assert "cd elsewhere" in done.stdout
    assert (tmp_path / "elsewhere" / "my_weather_connector" / "__init__.py").is_file()
    manifest = (tmp_path / "elsewhere" / "connector.json").read_text("utf-8")
    assert '"displayName": "My weather"' in manifest


def test_the_command_is_among_those_of_the_program():
    done = subprocess.run([PROGRAM, "--help"], capture_output=True, check=False, text=True)
    assert "new " in done.stdout


def test_two_connectors_have_two_identifiers(tmp_path):
    for name in ("a", "b"):
        assert new(tmp_path, name).returncode == 0
    texts = [(tmp_path / name / "connector.json").read_text("utf-8") for name in ("a", "b")]
    assert len({text.split('"guid": "')[1][:36] for text in texts}) == 2
