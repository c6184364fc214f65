import gc
import json
import shutil
import sys

import pytest

from connector_runtime import errors, load
from connector_runtime.version import satisfies
from tests.conftest import copy_tree


@pytest.fixture
def copy(root, tmp_path):
    """A copy of the connector's own folders, to spoil."""
    for name in ("actions", "auth", "schemas"):
        copy_tree(root / name, tmp_path / name)
    shutil.copy(root / "connector.json", tmp_path)
    return tmp_path


def edit(folder, change):
    path = folder / "connector.json"
    manifest = json.loads(path.read_text("utf-8"))
    change(manifest)
    path.write_text(json.dumps(manifest), "utf-8")


def test_two_versions_live_in_one_process_and_keep_their_own_modules(root, copy, sandbox):
    edit(copy, lambda manifest: manifest.update(version="2.0.0"))
    handler = copy / "actions" / "send_sms.py"
    handler.write_text(handler.read_text().replace('inputs["body"]}', '"v2: " + inputs["body"]}'))
    old, new = load(root), load(copy)
    inputs = {"to": "+14155550123", "body": "Hola"}
    assert old.run("send_sms", inputs, sandbox.settings)["body"] == "Hola"
    assert new.run("send_sms", inputs, sandbox.settings)["body"] == "v2: Hola"
    assert (old.version, new.version) == ("1.0.0", "2.0.0")
    assert "actions" not in sys.modules
    assert "auth" not in sys.modules
    assert str(root / "actions") not in sys.path


def test_a_connectors_modules_go_when_it_goes(copy):
    loaded = load(copy)
    (namespace,) = {
        type(a.handler).__module__ and a.handler.__name__.split(".")[0]
        for a in loaded.actions.values()
    }
    assert namespace in sys.modules
    del loaded
    gc.collect()
    assert [name for name in sys.modules if name.startswith(namespace)] == []


def test_a_connector_that_fails_to_load_leaves_no_module_behind(copy):
    before = set(sys.modules)
    (copy / "actions" / "get_all_sms.py").write_text("raise SystemExit(0)")
    with pytest.raises(errors.InvalidPackage, match="actions/get_all_sms: it can't be imported"):
        load(copy)
    assert {name for name in set(sys.modules) - before if name.startswith("connector_")} == set()


def rename_handler(manifest):
    manifest["actions"][0]["handler"] = "actions/nothing.py"


BAD_MANIFESTS = {
    "no version": (lambda m: m.pop("version"), "connector.json: 'version' is required"),
    "version": (lambda m: m.update(version="1.0"), "connector.json: 'version' breaks the rule"),
    "unknown key": (lambda m: m.update(vresion="1"), "'vresion' is not known (did you mean"),
    "effect": (
        lambda m: m["actions"][0].update(effect="maybe"),
        "'actions[0].effect' must be 'read' or 'write'",
    ),
    "secret": (lambda m: m["parameters"][3].update(secret="yes"), "'parameters[3].secret' must"),
    "handler outside": (
        lambda m: m["actions"][0].update(handler="../x.py"),
        "'actions[0].handler' breaks the rule 'pattern'",
    ),
    "handler missing": (rename_handler, "actions/nothing.py: it can't be read"),
    "twice": (lambda m: m["actions"].append(m["actions"][0]), "'send_sms' is declared twice"),
    "global that is none": (
        lambda m: m["actions"][0].update(globals=["accountId"]),
        "'actions[0].globals' names 'accountId', which is no global parameter",
    ),
    "global that is no input": (
        lambda m: m["actions"][1].update(globals=["from"]),
        "'actions[1].globals' names 'from', which is no input of it",
    ),
    "stream that is no output": (
        lambda m: m["actions"][2].update(streams="texts"),
        "'actions[2].streams' names 'texts', which is no output of it",
    ),
    "identifier that is no output": (
        lambda m: m["actions"][0].update(identifier="id"),
        "'actions[0].identifier' names 'id', which is no output of it",
    ),
    "no actions": (lambda m: m.update(actions=[]), "'actions' breaks the rule 'minItems'"),
}


@pytest.mark.parametrize(("change", "expected"), BAD_MANIFESTS.values(), ids=BAD_MANIFESTS)
def test_a_manifest_that_breaks_its_schema_is_refused_naming_the_place(copy, change, expected):
    edit(copy, change)
    with pytest.raises(errors.InvalidPackage) as caught:
        load(copy)
    assert expected in str(caught.value)


BAD_FILES = {
    "manifest gone": ("connector.json", None, "connector.json: it can't be read"),
    "manifest no JSON": ("connector.json", "{", "connector.json: it is not valid JSON"),
    "manifest a list": ("connector.json", "[]", "connector.json: it must be an object"),
    "key twice": ("connector.json", '{"a": 1, "a": 2}', "'a' is declared twice"),
    "schema gone": ("schemas/send_sms.input.json", None, "send_sms.input.json: it can't be read"),
    "schema a list": ("schemas/send_sms.input.json", "[]", "must be a JSON Schema of an object"),
    "schema wrong": (
        "schemas/send_sms.input.json",
        '{"type": "nonsense", "properties": {}}',
        "is not a valid JSON Schema",
    ),
    "no run": ("actions/send_sms.py", "", "actions/send_sms: it has no function 'run'"),
    "syntax": ("actions/send_sms.py", "def", "actions/send_sms: it can't be imported (SyntaxError"),
    "attributes": (
        "actions/send_sms.py",
        "def __getattr__(name): raise RuntimeError('boo')",
        "actions/send_sms: it can't be imported (RuntimeError: boo)",
    ),
    "error that can't be shown": (
        "actions/send_sms.py",
        "class Hidden(Exception):\n    def __str__(self): raise ValueError\nraise Hidden",
        "actions/send_sms: it can't be imported (an error that can't be shown)",
    ),
    "error that ends": (
        "actions/send_sms.py",
        "class Hidden(Exception):\n    def __str__(self): raise SystemExit\nraise Hidden",
        "actions/send_sms: it can't be imported (an error that can't be shown)",
    ),
    "no check": ("auth/__init__.py", "def connect(): ...", "auth: it has no function 'check'"),
}


@pytest.mark.parametrize(("name", "text", "expected"), BAD_FILES.values(), ids=BAD_FILES)
def test_a_file_that_is_missing_or_wrong_is_named(copy, name, text, expected):
    if text is None:
        (copy / name).unlink()
    else:
        (copy / name).write_text(text, "utf-8")
    before = set(sys.modules)
    with pytest.raises(errors.InvalidPackage) as caught:
        load(copy)
    assert expected in str(caught.value)
    assert {name for name in set(sys.modules) - before if name.startswith("connector_")} == set()


def test_a_link_out_of_the_folder_is_not_read(copy, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside") / "schema.json"
    outside.write_text((copy / "schemas/send_sms.input.json").read_text("utf-8"))
    (copy / "schemas/send_sms.input.json").unlink()
    (copy / "schemas/send_sms.input.json").symlink_to(outside)
    with pytest.raises(errors.InvalidPackage, match="lies outside the connector"):
        load(copy)


def test_what_is_not_there_is_no_connector(tmp_path):
    with pytest.raises(errors.InvalidPackage, match="is no connector's folder"):
        load(tmp_path / "nothing")


def test_the_schema_beside_the_connector_is_the_runtimes_own(root):
    """The connector's copy is for editors; a package must not bring the rules it is judged by."""
    own = (root / "connector_runtime" / "manifest.json").read_bytes()
    assert (root / "schemas" / "manifest.json").read_bytes() == own


def test_neither_loading_nor_connecting_imports_what_a_call_does_not_need(root):
    import subprocess

    code = (
        "import sys; from connector_runtime import load; load('.').connect({'accountId': 'AC' + "
        "32 * 'a', 'authToken': 'x'}); "
        "print([m for m in ('jsonschema', 'yaml', 'rich', 'click') if m in sys.modules])"
    )
    done = subprocess.check_output([sys.executable, "-c", code], cwd=root, text=True)
    assert done.strip() == "[]"


RUNTIMES = {
    "later": (
        ">=2.0",
        "twilio 1.0.0 needs connector_runtime >=2.0, and this is connector_runtime ",
    ),
    "earlier": ("<1", "needs connector_runtime <1, and this is"),
    "no range": ("1.x", "'runtime' is no range"),
}


@pytest.mark.parametrize(("runtime", "expected"), RUNTIMES.values(), ids=RUNTIMES)
def test_a_connector_for_another_runtime_is_refused_by_name_and_number(copy, runtime, expected):
    # Its manifest may have keys that this runtime does not know: they must not be what is said.
    edit(copy, lambda manifest: manifest.update(runtime=runtime, later="key"))
    with pytest.raises(errors.InvalidPackage) as caught:
        load(copy)
    assert expected in str(caught.value)


def test_a_connector_must_say_which_runtime_it_needs(copy):
    edit(copy, lambda manifest: manifest.pop("runtime"))
    with pytest.raises(errors.InvalidPackage, match="'runtime' is required"):
        load(copy)


RANGES = {
    ">=1.0,<2": (["1.0.0", "1.0", "1.9.9"], ["0.9.9", "2.0.0", "2"]),
    "==1.2": (["1.2.0"], ["1.2.1"]),
    "!=1.2, >1": (["1.2.1", "1.0.1"], ["1.2.0", "1.0.0"]),
    "<=1.10": (["1.9.0", "1.10"], ["1.10.1", "1.11"]),
}


@pytest.mark.parametrize("wanted", RANGES)
def test_a_range_holds_for_the_versions_in_it_alone(wanted):
    inside, outside = RANGES[wanted]
    assert [satisfies(wanted, version) for version in inside] == [True] * len(inside)
    assert [satisfies(wanted, version) for version in outside] == [False] * len(outside)


@pytest.mark.parametrize("wanted", ["", "1.0", ">=1.0,", ">=1.0.0.0", "~=1.0", ">=1 0", ">=1\n<2"])
def test_what_is_no_range_is_refused(wanted):
    with pytest.raises(ValueError, match="such as"):
        satisfies(wanted)
