import os
import subprocess
import sys

import pytest

from connector_runtime import errors, installed, load


@pytest.fixture
def distributions(tmp_path, monkeypatch):
    """Install made-up distributions that offer connectors, as pip leaves them on the path."""
    monkeypatch.syspath_prepend(tmp_path)

    def install(distribution, value, name="another", module=None, text=""):
        info = tmp_path / f"{distribution}-1.2.3.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2.3\n"
        )
        (info / "entry_points.txt").write_text(f"[{installed.GROUP}]\n{name} = {value}\n")
        if module:
            (tmp_path / f"{module}.py").write_text(text)

    return install


def test_the_tree_itself_is_installed_by_its_name(root):
    assert load("twilio").name == "twilio"
    assert installed.location("twilio") == root
    assert installed.offered_by("twilio").startswith("twilio-connector ")


def test_a_connector_that_another_distribution_offers_is_loaded_by_name(root, distributions):
    distributions(
        "made_up_a", "made_up_a:FOLDER", module="made_up_a", text=f"FOLDER = {str(root)!r}"
    )
    assert "another" in installed.names()
    assert load("another").manifest == load(root).manifest


def test_a_folder_that_has_an_installed_connectors_name_is_told_by_its_path(tmp_path, monkeypatch):
    (tmp_path / "twilio").mkdir()
    monkeypatch.chdir(tmp_path)
    assert load("twilio").name == "twilio"
    with pytest.raises(errors.InvalidPackage, match=r"connector\.json: it can't be read"):
        load("./twilio")


UNUSABLE = {
    "module": ("made_up_none:FOLDER", "", "made_up_b 1.2.3 is installed, but its entry point"),
    "attribute": ("made_up_b:NONE", "FOLDER = 1", "made_up_b 1.2.3 is installed, but its ent"),
    "kind": ("made_up_b:FOLDER", "FOLDER = 1", "the entry point of made_up_b 1.2.3 is no path"),
}  # fmt: skip


@pytest.mark.parametrize(("value", "text", "expected"), UNUSABLE.values(), ids=UNUSABLE)
def test_an_entry_point_that_can_not_be_used_is_named(distributions, value, text, expected):
    distributions("made_up_b", value, module="made_up_b", text=text)
    sys.modules.pop("made_up_b", None)
    with pytest.raises(errors.InvalidPackage) as caught:
        load("another")
    assert expected in str(caught.value)


def test_two_distributions_that_offer_the_same_connector_are_both_named(root, distributions):
    for name in ("made_up_c", "made_up_d"):
        distributions(name, f"{name}:FOLDER", module=name, text=f"FOLDER = {str(root)!r}")
    with pytest.raises(errors.InvalidPackage, match=r"by made_up_c 1.2.3, made_up_d 1.2.3: uninst"):
        load("another")


def test_a_name_that_is_not_installed_is_told_from_those_that_are():
    with pytest.raises(errors.InvalidPackage, match=r"'twillio' is no connector.*are: twilio"):
        load("twillio")
    with pytest.raises(errors.InvalidPackage, match="no connector 'twillio' is installed"):
        installed.location("twillio")


def test_without_a_name_several_installed_connectors_are_all_named(tmp_path):
    """A runtime with no connector beside it, as a wheel's is."""
    code = (
        "import connector_runtime.installed as installed, pathlib; "
        "installed.__file__ = str(pathlib.Path('nowhere', 'connector_runtime', 'x').resolve()); "
        "installed.names = lambda: ['a', 'b']; "
        "import connector_runtime.cli as cli; cli.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "actions"],
        capture_output=True, check=False, text=True, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": ""},
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == ("no connector is named: give --connector. Installed are: a, b.\n")
