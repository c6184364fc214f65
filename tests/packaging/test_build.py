"""What build.py does in copies of the tree; where a process matters, in one of its own."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from connector_build import checks, package
from connector_runtime import errors, load
from connector_runtime.errors import InvalidPackage
from tests.conftest import MANIFEST, ROOT, copy_tree
from tests.packaging.conftest import edit_json, edit_text, put, run

NAME = f"twilio-{MANIFEST['version']}.zip"
BIZC = f"twilio-{MANIFEST['version']}.bizc"
LISTING = ["icon.png", "icon.svg", "instructions.en.html", "instructions.es.html", "listing.json"]
PACKAGES = [f"{name}{end}" for name in (BIZC, NAME) for end in ("", ".cdx.json", ".sha256")]
GALLERY = ["gallery/1-process.png", "gallery/2-doctor.png", "gallery/3-outputs.png"]
EACH = ["category.txt", "cost-type.txt", "description.txt", "detail.html", "instructions.html"]
EACH += ["name.txt", "overview.txt"]
XCHANGE = [f"{code}/{name}" for code in ("en", "es") for name in EACH]
XCHANGE += [*GALLERY, "icon.svg", "index.html", BIZC, "updated.txt", "version.txt"]
MADE = [*(f"listing/{name}" for name in [*GALLERY, *LISTING]), *PACKAGES]
MADE += [f"xchange/{name}" for name in XCHANGE]


def built(tree, *arguments):
    """Build, and return what is in dist/ by name."""
    done = run(tree, *arguments)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return contents(tree / "dist")


def run_process(tree, *arguments, **environment):
    """Run build.py of a tree as a stranger does; return what it ended with."""
    # A copy's lines are not the tree's: counting them would only double the time of each build.
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")
    }
    # A module that a test changes twice in a second, to the same size, would be taken as compiled.
    inherited |= {"PYTHONUTF8": "0", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, "build.py", *map(str, arguments)],
        cwd=tree,
        env={**inherited, **environment},
        capture_output=True,
        check=False,
        encoding="utf-8",
        timeout=300,
    )


def built_in_a_process(tree, **environment):
    done = run_process(tree, **environment)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return contents(tree / "dist")


def contents(folder):
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The result of one build, for the tests that only look: its folder and what it printed."""
    left_out = (".*", "dist", "build", "node_modules")
    tree = copy_tree(ROOT, tmp_path_factory.mktemp("made") / "tree", *left_out)
    done = run_process(tree)
    assert (done.returncode, done.stderr) == (0, "")
    return tree / "dist", done.stdout


def test_build_prints_a_line_a_step_then_what_was_made(made):
    dist, printed = made
    lines = printed.splitlines()
    steps = ["check", "collect", "write", "verify", "verify"]
    assert [line.split()[0] for line in lines[:5]] == steps
    for line, name in zip(lines[5:], MADE, strict=True):
        content = (dist / name).read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        assert line == f"{Path('dist', name)}: {len(content):,} bytes, SHA-256 {digest}"


def test_dist_holds_what_is_documented_and_nothing_else(made):
    assert sorted(contents(made[0])) == sorted(MADE)


def test_package_holds_what_is_documented_and_nothing_else(made):
    with zipfile.ZipFile(made[0] / NAME) as archive:
        listed = archive.namelist()
    assert listed == sorted(listed)
    folders = {"actions", "auth", "connector_runtime", "schemas"}
    single = [name for name in listed if "/" not in name]
    assert single == [
        *("CHANGELOG.md", "LICENSE", "MANIFEST.sha256", "README.md", "__main__.py"),
        *("connector.json", "icon.png", "requirements.txt"),
    ]
    inside = set(listed) - set(single)
    assert {name.split("/")[0] for name in inside} == folders
    assert {name.rpartition(".")[2] for name in inside} == {"py", "json"}
    assert {f"actions/{action['name']}.py" for action in MANIFEST["actions"]} <= inside
    assert not any(name.startswith(".") or "test" in name for name in listed)


def test_manifest_has_the_hash_of_every_other_file(made):
    with zipfile.ZipFile(made[0] / NAME) as archive:
        lines = archive.read("MANIFEST.sha256").decode().splitlines()
        hashes = {name: digest for digest, name in (line.split("  ") for line in lines)}
        assert hashes == {
            name: hashlib.sha256(archive.read(name)).hexdigest()
            for name in archive.namelist()
            if name != "MANIFEST.sha256"
        }


def test_hash_file_is_what_sha256sum_checks(made):
    content = (made[0] / NAME).read_bytes()
    wanted = f"{hashlib.sha256(content).hexdigest()}  {NAME}\n"
    assert (made[0] / f"{NAME}.sha256").read_text() == wanted


def test_package_runs_as_it_stands(made, sandbox, tmp_path):
    settings = tmp_path / "connector.json"
    settings.write_text(json.dumps({"environments": {"test": sandbox.settings}}), "utf-8")
    done = subprocess.run(
        [
            *(sys.executable, "-I", "-B", made[0] / NAME, "run", "send_sms"),
            *("--set", "to=+14155550123", "--set", "body=Hola"),
            *("--config", settings, "--environment", "test"),
        ],
        capture_output=True,
        check=False,
        encoding="utf-8",
        cwd=tmp_path,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["sid"] == sandbox.messages[0]["sid"]


def test_bill_of_materials_is_valid_and_names_every_requirement(made):
    text = (made[0] / f"{NAME}.cdx.json").read_text("utf-8")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    bill = json.loads(text)
    digest = hashlib.sha256((made[0] / NAME).read_bytes()).hexdigest()
    assert bill["metadata"]["component"]["hashes"] == [{"alg": "SHA-256", "content": digest}]
    declared = {
        entry["value"]: component["name"]
        for component in bill["components"]
        for entry in component.get("properties", ())
    }
    with zipfile.ZipFile(made[0] / NAME) as archive:
        required = archive.read("requirements.txt").decode().splitlines()
    assert sorted(map(normal, declared)) == sorted(map(normal, required))
    for component in bill["components"]:
        assert component["licenses"], component["name"]
        for licence in component["licenses"]:  # of several, a user chooses one
            assert "expression" in licence or "id" in licence["license"], component["name"]
    names = {component["name"] for component in bill["components"]}
    assert not names & {"pytest", "aiohttp", "spiffworkflow", "jinja2", "twilio"}


def normal(requirement):
    return "".join(sorted(requirement.lower().replace(",", "")))


def test_two_builds_are_the_same_bytes(tree, tmp_path):
    other = shutil.copytree(tree, tmp_path / "another folder" / "árbol")
    for path in other.rglob("*"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
        path.chmod(0o700)
    first = built_in_a_process(tree, TZ="America/Bogota", LC_ALL="C")
    (other / "actions" / "__pycache__").mkdir(exist_ok=True)
    (other / "actions" / "__pycache__" / "send_sms.cpython-311.pyc").write_bytes(b"old")
    before = os.umask(0o077)
    try:
        second = built_in_a_process(other, TZ="Asia/Tokyo", LC_ALL="C.UTF-8", PYTHONHASHSEED="7")
    finally:
        os.umask(before)
    assert first == second


def test_line_ends_of_the_checkout_do_not_matter(tree):
    first = built(tree)
    for path in [*tree.rglob("*.py"), *tree.rglob("*.json"), *tree.rglob("*.md")]:
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert built(tree)[NAME] == first[NAME]


def test_source_date_epoch_is_the_time_of_every_file(tree, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    built(tree)
    with zipfile.ZipFile(tree / "dist" / NAME) as archive:
        assert {member.date_time for member in archive.infolist()} == {(2023, 11, 14, 22, 13, 20)}
        assert {member.external_attr >> 16 for member in archive.infolist()} == {0o100644}
    bill = json.loads((tree / "dist" / f"{NAME}.cdx.json").read_text("utf-8"))
    assert bill["metadata"]["timestamp"].startswith("2023-11-14T22:13:20")


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [
        (["--sing"], {}),
        (["--sign", "no-such-key"], {}),
        (["diff"], {}),
        (["diff", "no-such-package"], {}),
        (["check", "--format", "xml"], {}),
        (["publish"], {}),
        (["--sign", "README.md", "bizc"], {}),
        (["--output", "elsewhere", "check"], {}),
        ([], {"SOURCE_DATE_EPOCH": "yesterday"}),
        ([], {"SOURCE_DATE_EPOCH": "9999999999"}),
        ([], {"SOURCE_DATE_EPOCH": "-5"}),
        (["--output", "build.py"], {}),
        (["keygen", ""], {}),
        (["keygen", "actions"], {}),
    ],
    ids=[
        *(
            "option",
            "key",
            "diff-of-none",
            "package",
            "format",
            "command",
            "sign",
            "output",
            "time",
        ),
        *("far-time", "early-time", "output-file", "no-key", "key-folder"),
    ],
)
def test_wrong_usage_ends_with_2_and_builds_nothing(tree, arguments, environment, monkeypatch):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    done = run(tree, *arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert not (tree / "dist").exists()


def test_exit_statuses_of_the_process(tree):
    assert run_process(tree, "publish").returncode == 2
    plant_fault(tree)
    assert run_process(tree, "check").returncode == 1


def test_missing_package_is_named(tree):
    done = subprocess.run(
        [sys.executable, "-I", "-S", tree / "build.py"],
        capture_output=True,
        check=False,
        encoding="utf-8",
    )
    assert done.returncode == 2
    assert "needs the package 'connector_build'" in done.stderr
    assert "[build]" in done.stderr


def plant_fault(tree):
    (tree / "actions" / "send_sms.py").unlink()


def plant_package_that_does_not_run(tree):
    edit_text(tree / "connector_runtime" / "cli.py", "from __future__", "1 / 0\nfrom __future__")


@pytest.mark.parametrize("plant", [plant_fault, plant_package_that_does_not_run])
def test_refused_build_leaves_the_last_one_whole(tree, plant):
    before = built(tree)
    plant(tree)
    done = run(tree)
    assert done.returncode == 1
    assert "refused" in done.stderr
    assert contents(tree / "dist") == before
    assert sorted(path.name for path in (tree / "dist").iterdir() if path.name[0] == ".") == []


def test_folder_in_the_place_of_a_file_refuses_the_build_before_anything_is_replaced(tree):
    before = built(tree)
    del before[f"{NAME}.sha256"]
    (tree / "dist" / f"{NAME}.sha256").unlink()
    (tree / "dist" / f"{NAME}.sha256").mkdir()
    edit_text(tree / "LICENSE", "MIT", "MIT, changed")
    done = run(tree)
    assert done.returncode == 1
    assert done.stderr.startswith("refused")
    assert contents(tree / "dist") == before


@pytest.mark.skipif(os.name != "posix", reason="signals are sent")
def test_build_that_is_ended_leaves_nothing_behind(tree):
    abandoned = tree / "dist" / ".build-killed"
    abandoned.mkdir(parents=True)
    os.utime(abandoned, (1_000_000_000, 1_000_000_000))
    process = subprocess.Popen(
        [sys.executable, "build.py"], cwd=tree, stdout=subprocess.PIPE, encoding="utf-8"
    )
    while not [path for path in (tree / "dist").iterdir() if path != abandoned]:
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert list((tree / "dist").iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="signals are sent")
def test_build_that_is_ended_inside_a_library_with_an_error_of_its_own_tells_the_signal(tree):
    # zipfile can't close a package whose member is being opened, and says so in place of the exit.
    program = """
import os, runpy, signal, zlib
compressobj = zlib.compressobj
def ended(*arguments):
    zlib.compressobj = compressobj
    signal.raise_signal(signal.SIGTERM)
    return compressobj(*arguments)
zlib.compressobj = ended
runpy.run_path("build.py", run_name="__main__")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tree, capture_output=True, check=False, timeout=300
    )
    assert done.returncode == 128 + signal.SIGTERM
    assert b"collect" in done.stdout
    assert b"write" not in done.stdout
    assert list((tree / "dist").iterdir()) == []


def test_javascript_that_does_not_load_refuses_the_bizc(tree, node):
    with (tree / "marketplace" / "bizagi" / "actions" / "send-sms.js").open("a") as file:
        file.write("syntax error (((\n")
    done = run(tree, "bizc")
    assert done.returncode == 1
    assert "does not load" in done.stderr
    assert not contents(tree / "dist")


def test_bizc_with_a_fault_is_refused(tree):
    (tree / "marketplace" / "bizagi" / "actions" / "send-sms.js").unlink()
    done = run(tree, "bizc")
    assert done.returncode == 1
    assert "[bizc-handler]" in done.stderr
    assert not (tree / "dist").exists()


def test_bizc_is_written_and_named(tree):
    done = run(tree, "bizc")
    content = (tree / "dist" / BIZC).read_bytes()
    steps = [line.split()[0] for line in done.stdout.splitlines()[:4]]
    assert steps == ["check", "collect", "write", "verify"]
    assert f"{len(content):,} bytes, SHA-256 {hashlib.sha256(content).hexdigest()}" in done.stdout


def test_what_an_earlier_build_left_is_not_uploaded(tree):
    for name in ("xchange/twilio-0.9.0.bizc", "xchange/fr/name.txt", "listing/gallery/old.png"):
        (tree / "dist" / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / "dist" / name).write_text("old")
    assert sorted(built(tree)) == sorted(MADE)


def test_bizc_alone_leaves_nothing_that_tells_of_another(tree):
    built(tree)
    edit_text(
        tree / "marketplace" / "bizagi" / "auth" / "auth.js", "'use strict';", "'use strict'; "
    )
    assert run(tree, "bizc").returncode == 0
    zipped = [name for name in MADE if name.startswith(NAME)]
    assert sorted(contents(tree / "dist")) == sorted([BIZC, *zipped])


def test_keys_are_made_packages_signed_and_the_signature_verified(tree, tmp_path):
    key = tmp_path / "KEY"
    assert run(tree, "keygen", key).returncode == 0
    assert run(tree, "keygen", tmp_path / "OTHER").returncode == 0
    assert run(tree, "keygen", key).returncode == 1  # a key is not overwritten
    built(tree, "--sign", key)
    signed = tree / "dist" / NAME
    public, other = ((tmp_path / f"{name}.pub").read_bytes() for name in ("KEY", "OTHER"))
    assert load(signed, trusted_keys=[public]).manifest["name"] == "twilio"
    with pytest.raises(InvalidPackage):
        load(signed, trusted_keys=[other])
    assert f"{NAME}.sig" not in built(tree)  # it belonged to the last build
    with pytest.raises(InvalidPackage):
        load(signed, trusted_keys=[public])


def test_what_is_no_private_key_does_not_sign(tree):
    done = run(tree, "--sign", tree / "LICENSE")
    assert done.returncode == 1
    assert "no Ed25519 private key" in done.stderr
    assert not contents(tree / "dist")


def retype(tree):
    name = "schemas/get_sms_information.output.json"
    edit_json(tree / name, lambda schema: put(schema, "properties.price.type", ["string", "null"]))
    edit_json(tree / name, lambda schema: put(schema, "properties.price.examples", ["free"]))
    edit_json(tree / name, lambda schema: put(schema, "examples.0.price", None))


def test_version_that_is_too_small_for_the_change_is_refused(tree, made):
    retype(tree)
    done = run(tree, "--against", made[0] / NAME)
    assert done.returncode == 1
    assert "major  get_sms_information output.price: it may be string now" in done.stderr
    assert "the version must be 2.0.0 or higher, and connector.json says 1.0.0" in done.stderr
    assert not contents(tree / "dist")


def test_version_that_is_large_enough_is_built(tree, made):
    edit_json(tree / "connector.json", lambda manifest: put(manifest, "version", "1.0.1"))
    edit_text(tree / "CHANGELOG.md", "## [1.0.0]", "## [1.0.1] - 2026-12-01\n\n## [1.0.0]")
    done = run(tree, "--against", made[0] / NAME)
    assert done.returncode == 0, done.stderr
    assert "compare  changes since 1.0.0: patch; now 1.0.1" in done.stdout
    assert (tree / "dist" / "twilio-1.0.1.zip").is_file()


def test_diff_says_which_version_a_change_asks_for(tree, made):
    edit_json(
        tree / "connector.json", lambda manifest: put(manifest, "parameters.0.required", True)
    )
    done = run(tree, "diff", made[0] / NAME)
    assert done.returncode == 0
    assert "major  from: the parameter is newly required" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("major: 2.0.0 or higher after 1.0.0")
    verdict = json.loads(run(tree, "diff", made[0] / NAME, "--format", "json").stdout)
    assert (verdict["level"], verdict["least"], verdict["enough"]) == ("major", "2.0.0", False)
    same = run(tree, "diff", made[0] / NAME, made[0] / NAME)
    assert same.stdout == "none: 1.0.0 or higher after 1.0.0; it says 1.0.0, which is high enough\n"


def test_diff_of_what_is_no_package_is_refused(tree):
    done = run(tree, "diff", tree / "README.md")
    assert done.returncode == 1
    assert done.stderr.startswith("refused")


def test_check_shows_every_finding_and_builds_nothing(tree):
    assert run(tree, "check").stdout == "0 errors, 0 warnings and pieces of advice\n"
    (tree / "actions" / "send_sms.py").unlink()
    (tree / "tests" / "actions" / "test_get_all_sms.py").unlink()
    done = run(tree, "check")
    assert done.returncode == 1
    assert "[handler-missing]" in done.stdout
    assert "[test-missing]" in done.stdout
    listed = json.loads(run(tree, "check", "--format", "json").stdout)
    assert {"tier", "rule", "file", "place", "message"} == set(listed[0])
    assert {finding["rule"] for finding in listed} >= {"handler-missing", "test-missing"}
    assert not (tree / "dist").exists()


def test_real_tree_is_without_a_finding():
    assert checks.check(ROOT) == []


def test_package_and_folder_are_the_same_connector(made):
    packed, folder = load(made[0] / NAME), load(ROOT)
    assert packed.manifest == folder.manifest
    with zipfile.ZipFile(made[0] / NAME) as archive:
        kept = {name: archive.read(name) for name in archive.namelist()}
    assert kept == package.contents(ROOT)


def test_version_that_is_too_small_is_a_finding_among_the_others(tree, made):
    assert run(tree, "check", "--against", made[0] / NAME).returncode == 0
    retype(tree)
    (tree / "tests" / "actions" / "test_get_all_sms.py").unlink()
    done = run(tree, "check", "--against", made[0] / NAME)
    assert done.returncode == 1
    assert "[test-missing]" in done.stdout
    assert "connector.json: version: major changes since 1.0.0: make it 2.0.0" in done.stdout


def test_connector_without_sources_for_them_has_neither_listing_nor_bizc(tree):
    shutil.rmtree(tree / "marketplace")
    (tree / "icon.svg").unlink()
    files = [NAME, f"{NAME}.cdx.json", f"{NAME}.sha256"]
    assert sorted(built(tree)) == files
    assert load(tree / "dist" / NAME).name == "twilio"


def test_schema_of_manifests_is_written_anew(tree):
    (tree / "schemas" / "manifest.json").write_text("{}")
    assert "[manifest-schema-copy]" in run(tree, "check").stdout
    assert run(tree, "generate").returncode == 0
    assert run(tree, "check").returncode == 0


def test_readme_in_the_package_speaks_of_what_the_package_holds(made):
    with zipfile.ZipFile(made[0] / NAME) as archive:
        text = archive.read("README.md").decode()
        names = archive.namelist()
    assert text.startswith(f"# Twilio {MANIFEST['version']}\n")
    for entry in (*MANIFEST["parameters"], *MANIFEST["options"], *MANIFEST["actions"]):
        assert f"`{entry['name']}`" in text
    for kind in errors.kinds():
        assert f"| `{kind.code}` |" in text
    named = set(re.findall(r"`([\w./-]+\.(?:md|py|txt|json|sha256|yaml|bpmn))`", text))
    assert named <= set(names), "it names files that the package lacks"
    assert "](" not in text.replace("](https://", ""), "a link that leads nowhere"
