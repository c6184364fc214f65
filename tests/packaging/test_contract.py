"""What a change asks for: each of these, made in the connector's own files, and nothing else."""

import itertools
import json

import pytest

from connector_build import contract
from connector_build import package as packages
from connector_runtime.errors import InvalidPackage
from tests.conftest import ROOT
from tests.packaging.conftest import put

MANIFEST = "connector.json"
INPUT = "schemas/send_sms.input.json"
OUTPUT = "schemas/send_sms.output.json"
LIST = "schemas/get_all_sms.output.json"
BODY_IN = "properties.body"
DECLARED = json.loads((ROOT / MANIFEST).read_text("utf-8"))


@pytest.fixture(scope="module")
def files():
    return packages.contents(ROOT)


def changed(files, *edits):
    """The files after edits, each a file, a place in it and the value there, or none to delete."""
    documents = {name: json.loads(files[name]) for name, *_ in edits}
    for name, place, *value in edits:
        put(documents[name], place, *value)
    return {
        **files,
        **{name: json.dumps(document).encode() for name, document in documents.items()},
    }


def beyond_patches(changes):
    return [tuple(change) for change in changes if change.level != "patch"]


def judged(files, before, after):
    """Which changes are found from the files with the one edits to those with the others."""
    return beyond_patches(contract.compare(changed(files, *before), changed(files, *after)))


def field(name, place, old, new):
    """The edits that make a field (a dict) the old one, and those that make it the new one."""
    return [(name, place, old)], [(name, place, new)]


def taken(old, new):
    return field(INPUT, BODY_IN, old, new)


def given(old, new):
    return field(OUTPUT, "properties.body", old, new)


def setting(**facets):
    flags = {"required": False, "secret": False, "global": False}
    return {"name": "colour", "type": "string", **flags, **facets}


def parameter(old, new):
    """The edits that add a parameter with the old facets, and with the new; None adds none."""
    rest = DECLARED["parameters"]
    return [
        [(MANIFEST, "parameters", rest if facets is None else [setting(**facets), *rest])]
        for facets in (old, new)
    ]


IN, OUT = "send_sms input.body", "send_sms output.body"
ALL_BUT_TEXT = "array or boolean or integer or null or number or object"
TEXT, NUMBER, WHOLE = {"type": "string"}, {"type": "number"}, {"type": "integer"}
TEXTS = {"type": "array", "items": TEXT}
NUMBERS = {"type": "array", "items": NUMBER}

# What differs: the edits before, the edits after, and the changes that they are.
CHANGES = {
    "input: gone": (
        [], [(INPUT, BODY_IN)], [("major", IN, "the input is gone")],
    ),
    "input: new": (
        [(INPUT, BODY_IN), (INPUT, "required", [])], [(INPUT, "required", [])],
        [("minor", IN, "a new input")],
    ),
    "input: new and required": (
        [(INPUT, BODY_IN)], [], [("major", IN, "a new input that is required")],
    ),
    "input: new and required, with a default": (
        [(INPUT, BODY_IN)], [(INPUT, f"{BODY_IN}.default", "")], [("minor", IN, "a new input")],
    ),
    "input: newly required": (
        [(INPUT, "required", ["from", "to"])], [], [("major", IN, "it is newly required")],
    ),
    "input: newly required, where nothing was": (
        [(INPUT, "required")], [(INPUT, "required", ["body"])],
        [("major", IN, "it is newly required")],
    ),
    "input: no longer required": (
        [], [(INPUT, "required", ["from", "to"])], [("minor", IN, "it is no longer required")],
    ),
    "input: newly required, with a default": (
        [(INPUT, "required", ["from", "to"])], [(INPUT, f"{BODY_IN}.default", "x")],
        [("minor", IN, "its default differs")],
    ),
    "input: required, and its default gone": (
        [(INPUT, f"{BODY_IN}.default", "x")], [],
        [("major", IN, "it is newly required"), ("minor", IN, "its default differs")],
    ),
    "input: other default": (
        *taken({**TEXT, "default": "a"}, {**TEXT, "default": "b"}),
        [("minor", IN, "its default differs")],
    ),
    "input: other type": (
        *taken(TEXT, {"type": "boolean"}),
        [("major", IN, "it no longer takes string"), ("minor", IN, "it takes boolean too")],
    ),
    "input: fewer types": (
        *taken({"type": ["string", "null", "integer"]}, TEXT),
        [("major", IN, "it no longer takes integer or null")],
    ),
    "input: more types": (
        *taken(TEXT, {"type": ["string", "null"]}), [("minor", IN, "it takes null too")],
    ),
    "input: numbers to whole numbers": (
        *taken(NUMBER, WHOLE), [("major", IN, "it no longer takes number")],
    ),
    "input: whole numbers to numbers": (
        *taken(WHOLE, NUMBER), [("minor", IN, "it takes number too")],
    ),
    "input: newly typed": (
        *taken({}, TEXT),
        [("major", IN, f"it no longer takes {ALL_BUT_TEXT}")],
    ),
    "input: no longer typed": (
        *taken(TEXT, {}),
        [("minor", IN, f"it takes {ALL_BUT_TEXT} too")],
    ),
    "input: enum declared": (
        *taken(TEXT, {**TEXT, "enum": ["a"]}), [("major", IN, "'enum' is ['a'], was None")],
    ),
    "input: enum narrowed": (
        *taken({"enum": ["a", "b"]}, {"enum": ["b"]}),
        [("major", IN, "'enum' is ['b'], was ['a', 'b']")],
    ),
    "input: enum exchanged": (
        *taken({"enum": ["a", "b"]}, {"enum": ["b", "c", "d"]}),
        [("major", IN, "'enum' is ['b', 'c', 'd'], was ['a', 'b']")],
    ),
    "input: enum widened": (
        *taken({"enum": ["a"]}, {"enum": ["b", "a"]}),
        [("minor", IN, "'enum' is ['b', 'a'], was ['a']")],
    ),
    "input: enum dropped": (
        *taken({"enum": ["a"]}, {}), [("minor", IN, "'enum' is None, was ['a']")],
    ),
    "input: pattern declared": (
        *taken(TEXT, {**TEXT, "pattern": "^(a)$"}),
        [("major", IN, "its pattern may refuse what it took before")],
    ),
    "input: pattern dropped": (
        *taken({**TEXT, "pattern": "^a$"}, TEXT), [("minor", IN, "its pattern takes more")],
    ),
    "input: unknown fields no longer taken": (
        [(INPUT, "additionalProperties")], [],
        [("major", "send_sms input", "it no longer takes unknown fields")],
    ),
    "input: unknown fields taken": (
        [], [(INPUT, "additionalProperties", True)],
        [("minor", "send_sms input", "it takes unknown fields too")],
    ),
    "input: newly required without being declared": (
        [], [(INPUT, "required", ["from", "to", "body", "colour"])],
        [("major", "send_sms input.colour", "it is newly required, and not declared")],
    ),
    "input: required without being declared, as before": (
        [(INPUT, "required", ["colour"])], [(INPUT, "required", ["colour"])], [],
    ),
    "input: an object newly strict": (
        *taken({"type": "object"}, {"type": "object", "additionalProperties": False}),
        [("major", IN, "it no longer takes unknown fields")],
    ),
    "input: keyword that nothing judges": (
        *taken({**TEXT, "not": {}}, {**TEXT, "not": {}, "const": "a", "format": "date"}),
        [
            ("major", IN, "'const' differs, which may break processes"),
            ("major", IN, "'format' differs, which may break processes"),
        ],
    ),
    "input: words alone": (
        *taken(
            {**TEXT, "description": "a", "examples": ["a"], "x-mustBe": "a", "title": "a"},
            {**TEXT, "description": "b", "examples": ["b"], "x-mustBe": "b", "$comment": "b"},
        ),
        [],
    ),
    "input: field of a field": (
        *taken({"properties": {"a": TEXT, "b": TEXT}}, {"properties": {"a": WHOLE, "c": TEXT}}),
        [
            ("major", f"{IN}.a", "it no longer takes string"),
            ("major", f"{IN}.b", "the input is gone"),
            ("minor", f"{IN}.a", "it takes integer too"),
            ("minor", f"{IN}.c", "a new input"),
        ],
    ),
    "input: items": (
        *taken(NUMBERS, TEXTS),
        [
            ("major", f"{IN}[]", "it no longer takes integer or number"),
            ("minor", f"{IN}[]", "it takes string too"),
        ],
    ),
    "input: items of items": (
        *taken({"items": {"items": NUMBER}}, {"items": {"items": WHOLE}}),
        [("major", f"{IN}[][]", "it no longer takes number")],
    ),
    "input: items declared": (
        *taken({"type": "array"}, {"type": "array", "items": {"minimum": 1}}),
        [("major", f"{IN}[]", "'minimum' is 1, was None")],
    ),
    "input: items dropped": (
        *taken({"type": "array", "items": {"minimum": 1}}, {"type": "array"}),
        [("minor", f"{IN}[]", "'minimum' is None, was 1")],
    ),
    "output: gone": (
        [], [(OUTPUT, "properties.body")], [("major", OUT, "the output is gone")],
    ),
    "output: new": (
        [(OUTPUT, "properties.body")], [], [("minor", OUT, "a new output")],
    ),
    "output: may be missing": (
        [(OUTPUT, "required", ["sid", "body"])], [(OUTPUT, "required", ["sid"])],
        [("major", OUT, "it may be missing now")],
    ),
    "output: newly certain": ([(OUTPUT, "required", ["sid"])], [], []),
    "output: other type": (
        *given(TEXT, NUMBER),
        [
            ("major", OUT, "it may be integer or number now"),
            ("major", OUT, "it is never string now"),
        ],
    ),
    "output: more types": (
        *given(TEXT, {"type": ["string", "null"]}), [("major", OUT, "it may be null now")],
    ),
    "output: fewer types": (
        *given({"type": ["string", "null"]}, TEXT), [("minor", OUT, "it is never null now")],
    ),
    "output: whole numbers to numbers": (
        *given(WHOLE, NUMBER), [("major", OUT, "it may be number now")],
    ),
    "output: numbers to whole numbers": (
        *given(NUMBER, WHOLE), [("minor", OUT, "it is never number now")],
    ),
    "output: no longer typed": (
        *given({"type": ["string", "object", "array", "boolean", "number"]}, {}),
        [("major", OUT, "it may be null now")],
    ),
    "output: enum declared": (
        *given(TEXT, {**TEXT, "enum": ["a"]}), [("minor", OUT, "'enum' is ['a'], was None")],
    ),
    "output: enum narrowed": (
        *given({"enum": ["a", "b"]}, {"enum": ["b"]}),
        [("minor", OUT, "'enum' is ['b'], was ['a', 'b']")],
    ),
    "output: enum widened": (
        *given({"enum": ["a"]}, {"enum": ["a", "b"]}),
        [("major", OUT, "'enum' is ['a', 'b'], was ['a']")],
    ),
    "output: enum dropped": (
        *given({"enum": ["a"]}, {}), [("major", OUT, "'enum' is None, was ['a']")],
    ),
    "output: pattern declared": (
        *given(TEXT, {**TEXT, "pattern": "^a"}), [("minor", OUT, "the form of its text differs")],
    ),
    "output: pattern changed": (
        *given({"pattern": "^(a)$"}, {"pattern": "^(a|b)$"}),
        [("major", OUT, "the form of its text differs")],
    ),
    "output: pattern dropped": (
        *given({"pattern": "^(a)$"}, {}), [("major", OUT, "the form of its text differs")],
    ),
    "output: keyword that nothing judges": (
        *given({"anyOf": [TEXT]}, {}),
        [("major", OUT, "'anyOf' differs, which may break processes")],
    ),
    "output: unknown fields given": (
        [], [(OUTPUT, "additionalProperties", True)],
        [("minor", "send_sms output", "it may hold unknown fields now")],
    ),
    "output: words alone": (
        *given({**TEXT, "description": "a"}, {**TEXT, "description": "b", "examples": [""]}), [],
    ),
    "output: field of an item": (
        [], [(LIST, "properties.messages.items.properties.price.type", "string")],
        [
            ("major", "get_all_sms output.messages[].price", "it may be string now"),
            (
                "major", "get_all_sms output.messages[].price",
                "it is never integer or null or number now",
            ),
        ],
    ),
    "output: field of an item gone": (
        [], [(LIST, "properties.messages.items.properties.price")],
        [("major", "get_all_sms output.messages[].price", "the output is gone")],
    ),
    "output: field of an item may be missing": (
        [(LIST, "properties.messages.items.required", ["sid", "price"])],
        [(LIST, "properties.messages.items.required", ["sid"])],
        [("major", "get_all_sms output.messages[].price", "it may be missing now")],
    ),
    "output: items dropped": (
        *given({"items": {"minimum": 1}}, {}),
        [("major", f"{OUT}[]", "'minimum' is None, was 1")],
    ),
    "output: items declared": (
        *given({}, {"items": {"minimum": 1}}),
        [("minor", f"{OUT}[]", "'minimum' is 1, was None")],
    ),
    "action: gone": (
        [], [(MANIFEST, "actions.2")], [("major", "get_all_sms", "the action is gone")],
    ),
    "action: new": (
        [(MANIFEST, "actions.2")], [], [("minor", "get_all_sms", "a new action")],
    ),
    "action: renamed": (
        [], [(MANIFEST, "actions.0.name", "send_text")],
        [("major", "send_sms", "the action is gone"), ("minor", "send_text", "a new action")],
    ),
    "action: global lost": (
        [], [(MANIFEST, "actions.0.globals", [])],
        [("major", "send_sms", "its input no longer falls back to the parameter 'from'")],
    ),
    "action: global gained": (
        [(MANIFEST, "actions.0.globals", [])], [],
        [("minor", "send_sms", "its input falls back to the parameter 'from'")],
    ),
    "action: effect": (
        [], [(MANIFEST, "actions.0.effect", "read")],
        [("major", "send_sms", "'effect' is read, was write: engines go by it")],
    ),
    "action: repeatable": (
        [], [(MANIFEST, "actions.0.repeatable", True)],
        [("major", "send_sms", "'repeatable' is True, was False: engines go by it")],
    ),
    "action: streams another list": (
        [], [(MANIFEST, "actions.2.streams", "texts")],
        [("major", "get_all_sms", "'streams' differs")],
    ),
    "action: no longer streams": (
        [], [(MANIFEST, "actions.2.streams")], [("major", "get_all_sms", "'streams' differs")],
    ),
    "action: newly streams": (
        [(MANIFEST, "actions.2.streams")], [], [("minor", "get_all_sms", "'streams' differs")],
    ),
    "action: other words": (
        [], [(MANIFEST, "actions.0.displayName", "Send"), (MANIFEST, "actions.0.description", "")],
        [],
    ),
    "actions: other order": (
        [], [(MANIFEST, "actions", DECLARED["actions"][::-1])], [],
    ),
    "connector: other guid": (
        [], [(MANIFEST, "guid", "x")], [("major", "guid", "it is now another connector")],
    ),
    "connector: other name": (
        [], [(MANIFEST, "name", "x")], [("major", "name", "it is now another connector")],
    ),
    "connector: other form of manifest": (
        [], [(MANIFEST, "manifestVersion", 2)],
        [("major", "manifestVersion", "it is now another connector")],
    ),
    "connector: other words": (
        [], [(MANIFEST, "description", "x"), (MANIFEST, "version", "1.0.1")], [],
    ),
    "parameter: gone": (
        *parameter({}, None), [("major", "colour", "the parameter is gone")],
    ),
    "parameter: new": (*parameter(None, {}), [("minor", "colour", "a new parameter")]),
    "parameter: new and required": (
        *parameter(None, {"required": True}),
        [("major", "colour", "a new parameter that every environment must set")],
    ),
    "parameter: newly required": (
        *parameter({}, {"required": True}),
        [("major", "colour", "the parameter is newly required")],
    ),
    "parameter: no longer required": (
        *parameter({"required": True}, {}),
        [("minor", "colour", "the parameter is no longer required")],
    ),
    "parameter: no longer global": (
        *parameter({"global": True}, {}),
        [("major", "colour", "inputs no longer fall back to it")],
    ),
    "parameter: newly global": (
        *parameter({}, {"global": True}), [("minor", "colour", "it is newly global")],
    ),
    "parameter: no longer secret": (
        *parameter({"secret": True}, {}), [("major", "colour", "it is no longer kept secret")],
    ),
    "parameter: newly secret": (
        *parameter({}, {"secret": True}), [("minor", "colour", "it is newly secret")],
    ),
    "parameter: other type": (
        *parameter({}, {"type": "integer"}),
        [
            ("major", "colour", "it no longer takes string"),
            ("minor", "colour", "it takes integer too"),
        ],
    ),
    "parameter: bound": (
        *parameter({"minimum": 1}, {"minimum": 2}),
        [("major", "colour", "'minimum' is 2, was 1")],
    ),
    "parameter: pattern": (
        *parameter({"pattern": "^(a|b)$"}, {"pattern": "^(a)$"}),
        [("major", "colour", "its pattern may refuse what it took before")],
    ),
    "parameter: other words": (
        *parameter(
            {"displayName": "a", "description": "a", "example": "a", "mustBe": "a"},
            {"displayName": "b", "description": "b", "example": "b"},
        ),
        [],
    ),
    "option: gone": (
        [], [(MANIFEST, "options.1")], [("major", "apiKeySid", "the option is gone")],
    ),
    "option: new": ([(MANIFEST, "options.1")], [], [("minor", "apiKeySid", "a new option")]),
    "option: other default": (
        [], [(MANIFEST, "options.2.default", 20)],
        [("minor", "timeoutSeconds", "its default differs")],
    ),
    "option: lower maximum": (
        [], [(MANIFEST, "options.2.maximum", 30)],
        [("major", "timeoutSeconds", "'maximum' is 30, was 300")],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("before", "after", "expected"), CHANGES.values(), ids=CHANGES)
def test_a_change_asks_for_its_step(files, before, after, expected):
    assert judged(files, before, after) == expected


LOWER, UPPER = ("minimum", "minLength", "minItems"), ("maximum", "maxLength", "maxItems")
BOUNDS = [
    # facet, old and new value, whether more is let through
    *[(facet, 5, 4, True) for facet in LOWER],
    *[(facet, 5, 6, False) for facet in LOWER],
    *[(facet, 5, 4, False) for facet in UPPER],
    *[(facet, 5, 6, True) for facet in UPPER],
    *[(facet, 5, None, True) for facet in LOWER + UPPER],
    *[(facet, None, 5, False) for facet in LOWER + UPPER],
    *[(facet, 0, 1, False) for facet in LOWER],
    *[(facet, None, 0, False) for facet in UPPER],
]


@pytest.mark.parametrize(("facet", "old", "new", "wider"), BOUNDS)
def test_a_bound_that_refuses_more_breaks_inputs_and_one_that_gives_more_outputs(
    files, facet, old, new, wider
):
    schemas = [{} if value is None else {facet: value} for value in (old, new)]
    what = f"'{facet}' is {new}, was {old}"
    assert judged(files, *taken(*schemas)) == [("minor" if wider else "major", IN, what)]
    assert judged(files, *given(*schemas)) == [("major" if wider else "minor", OUT, what)]


PATTERNS = {
    "alternative added": ("^(a|b)$", "^(a|b|c)$", True),
    "alternative added in front": ("^(a|b)$", "^(c|b|a)$", True),
    "alternative added to one": ("^(a)$", "^(a|b)$", True),
    "alternative added before an end of its own": (r"^(a)$(?!\n)", r"^(a|b)$(?!\n)", True),
    "alternative with brackets": ("^(a(b|c))$", "^(d|a(b|c))$", True),
    "alternative with a bar in a class": ("^([|)]+)$", "^([|)]+|b)$", True),
    "alternative with escapes": (r"^(\(|\||\\)$", r"^(a|\||\\|\()$", True),
    "alternative gone": ("^(a|b)$", "^(a)$", False),
    "alternative changed": ("^(a|b)$", "^(a|B)$", False),
    "alternative of a group within": ("^(a(b|c))$", "^(a(b))$", False),
    "class that looks like alternatives": ("^([a|b])$", "^([a|b|c])$", False),
    "escape that looks like alternatives": (r"^(a\|b)$", r"^(a\|b\|c)$", False),
    "two groups": ("^(a)(b)$", "^(a|c)(b)$", False),
    "three groups in another order": ("^(a)(b|c)(d)$", "^(c)(d|a)(b)$", False),
    "two groups with a bar between": ("^(a)$|^(b)$", "^(a)$|^(b)$|^(c)$", False),
    "group that does not catch": ("^(?:a)$", "^(?:a|b)$", False),
    "trailing line break newly refused": ("^(a)$", r"^(a|b)$(?!\n)", False),
    "trailing line break newly taken": (r"^(a)$(?!\n)", "^(a|b)$", True),
    "no group": ("^a$", "^a|b$", False),
    "newly a group": ("^a$", "^(a|b)$", False),
    "no longer a group": ("^(a)$", "^.*$", False),
}


@pytest.mark.parametrize(("old", "new", "wider"), PATTERNS.values(), ids=PATTERNS)
def test_a_pattern_is_wider_only_by_further_alternatives(files, old, new, wider):
    what = "its pattern takes more" if wider else "its pattern may refuse what it took before"
    edits = taken({**TEXT, "pattern": old}, {**TEXT, "pattern": new})
    assert judged(files, *edits) == [("minor" if wider else "major", IN, what)]


def test_the_sender_s_own_pattern_may_gain_an_alternative(files):
    pattern = json.loads(files[INPUT])["properties"]["from"]["pattern"]
    more = pattern.replace("^(", "^(messenger:[0-9]+|")
    fewer = pattern.replace("|[0-9]{3,8}", "")
    assert pattern not in (more, fewer)
    place = "properties.from.pattern"
    for new, level in ((more, "minor"), (fewer, "major")):
        (change,) = judged(files, [], [(INPUT, place, new)])
        assert change[:2] == (level, "send_sms input.from")


def test_nothing_changed_asks_for_nothing(files):
    assert contract.compare(files, dict(files)) == []
    assert contract.level([]) == "none"


def test_a_file_that_differs_is_a_patch(files):
    new = {**files, "README.md": b"New.\n", "actions/_planted.py": b""}
    del new["auth/hints.json"]
    new["MANIFEST.sha256"] = b""  # it tells the same once more
    changes = contract.compare(files, new)
    assert [tuple(change) for change in changes] == [
        ("patch", "README.md", "changed"),
        ("patch", "actions/_planted.py", "added"),
        ("patch", "auth/hints.json", "removed"),
    ]
    assert contract.level(changes) == "patch"


def test_a_schema_under_another_name_is_the_same_contract(files):
    name = "schemas/text.input.json"
    new = changed(files, (MANIFEST, "actions.0.input", name))
    new[name] = new.pop(INPUT)
    assert {change.level for change in contract.compare(files, new)} == {"patch"}


def test_the_gravest_change_comes_first_and_decides(files):
    new = changed(files, (OUTPUT, "properties.uri"), (INPUT, "properties.media", TEXT))
    changes = contract.compare(files, new)
    assert [change.level for change in changes] == ["major", "minor", "patch", "patch"]
    assert contract.level(changes) == "major"
    assert contract.level(changes[1:]) == "minor"
    assert contract.level(reversed(changes)) == "major"


def test_a_change_in_one_line():
    change = contract.Change("major", "send_sms output.uri", "the output is gone")
    assert str(change) == "major  send_sms output.uri: the output is gone"
    assert str(contract.Change("patch", "LICENSE", "changed")) == "patch  LICENSE: changed"


def test_what_breaks_one_way_and_adds_the_other(files):
    new = changed(files, (OUTPUT, "properties.uri"), (MANIFEST, "actions.2"))
    assert contract.level(contract.compare(files, new)) == "major"
    assert contract.level(contract.compare(new, files)) == "minor"


# Each may follow the one before; semver.org orders the pre-releases so.
ORDERED = (
    *("0.9.9", "1.0.0-1", "1.0.0-2", "1.0.0-11", "1.0.0-alpha", "1.0.0-alpha.1"),
    *("1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc-1"),
    *("1.0.0-rc-1.1", "1.0.0", "1.0.1-rc", "1.0.1", "1.0.9", "1.0.10", "1.1.0", "2.0.0"),
)


def test_versions_come_in_the_order_of_semantic_versioning():
    for older, newer in itertools.combinations(ORDERED, 2):
        assert contract.is_enough(older, newer, "patch"), (older, newer)
        assert not contract.is_enough(newer, older, "patch"), (newer, older)


@pytest.mark.parametrize(
    ("old", "new", "steps"),
    [
        ("1.2.3", "1.2.3", ["none"]),
        ("1.2.3", "1.2.4", ["none", "patch"]),
        ("1.2.3", "1.3.0", ["none", "patch", "minor"]),
        ("1.2.3", "2.0.0", ["none", "patch", "minor", "major"]),
        ("1.2.3", "2.0.0-rc.1", ["none", "patch", "minor", "major"]),
        ("1.2.3", "1.3.0-rc.1", ["none", "patch", "minor"]),
        ("1.2.3", "1.2.4-rc.1", ["none", "patch"]),
        ("1.2.3", "1.2.3-rc.1", []),
        ("1.2.3", "1.1.9", []),
        ("1.2.3", "0.9.9", []),
        ("1.9.0", "1.10.0", ["none", "patch", "minor"]),
        ("9.0.0", "10.0.0", ["none", "patch", "minor", "major"]),
        ("2.0.0-rc.1", "2.0.0", ["none", "patch"]),
        ("2.0.0-rc.9", "2.0.0-rc.10", ["none", "patch"]),
    ],
)
def test_a_version_is_enough_for_these_steps(old, new, steps):
    assert [step for step in contract.LEVELS if contract.is_enough(old, new, step)] == steps


@pytest.mark.parametrize(
    ("old", "patch", "minor", "major"),
    [
        ("1.2.3", "1.2.4", "1.3.0", "2.0.0"),
        ("0.0.0", "0.0.1", "0.1.0", "1.0.0"),
        ("1.9.9", "1.9.10", "1.10.0", "2.0.0"),
        ("2.0.0-rc.1", "2.0.0", "2.1.0", "3.0.0"),
    ],
)
def test_the_least_version_is_enough(old, patch, minor, major):
    least = {step: contract.least(old, step) for step in contract.LEVELS}
    assert least == {"none": old, "patch": patch, "minor": minor, "major": major}
    assert all(contract.is_enough(old, version, step) for step, version in least.items())


def test_the_version_is_the_manifest_s(files):
    assert contract.version(files) == DECLARED["version"]
    assert contract.version(changed(files, (MANIFEST, "version", "3.1.4-rc.1"))) == "3.1.4-rc.1"


def test_a_tree_and_its_package_are_read_alike(files, package, tree):
    assert contract.read(package) == contract.read(tree) == files
    assert contract.compare(contract.read(package), contract.read(ROOT)) == []


def test_what_can_not_be_read_is_refused(tmp_path):
    (tmp_path / "other.zip").write_bytes(b"other")
    with pytest.raises(InvalidPackage, match=r"other\.zip: it is not a complete ZIP file"):
        contract.read(tmp_path / "other.zip")
    with pytest.raises(InvalidPackage, match=r"none\.zip: it can't be read"):
        contract.read(tmp_path / "none.zip")
    with pytest.raises(InvalidPackage, match="it is no connector's source tree"):
        contract.read(tmp_path)


NOT_COMPARABLE = {
    "no manifest": lambda files: files.pop(MANIFEST),
    "manifest is no JSON": lambda files: files.update({MANIFEST: b"{"}),
    "manifest is no text": lambda files: files.update({MANIFEST: b'{"x": "\xff"}'}),
    "manifest is a list": lambda files: files.update({MANIFEST: b"[]"}),
    "actions are no list": lambda files: files.update(changed(files, (MANIFEST, "actions", 1))),
    "no guid": lambda files: files.update(changed(files, (MANIFEST, "guid"))),
    "no parameters": lambda files: files.update(changed(files, (MANIFEST, "parameters"))),
    "parameters are no objects": lambda files: files.update(
        changed(files, (MANIFEST, "parameters", ["from"]))
    ),
    "action without a name": lambda files: files.update(
        changed(files, (MANIFEST, "actions.0.name"))
    ),
    "no version": lambda files: files.update(changed(files, (MANIFEST, "version"))),
    "version is a number": lambda files: files.update(changed(files, (MANIFEST, "version", 1))),
    "version of two numbers": lambda files: files.update(
        changed(files, (MANIFEST, "version", "1.0"))
    ),
    "version of four numbers": lambda files: files.update(
        changed(files, (MANIFEST, "version", "1.0.0.0"))
    ),
    "version with build metadata": lambda files: files.update(
        changed(files, (MANIFEST, "version", "1.0.0+5"))
    ),
    "no schema": lambda files: files.pop(INPUT),
    "schema is no JSON": lambda files: files.update({OUTPUT: b""}),
    "schema is a list": lambda files: files.update({OUTPUT: b"[]"}),
    "schema without properties": lambda files: files.update({INPUT: b"{}"}),
    "field that is true": lambda files: files.update(changed(files, (INPUT, BODY_IN, True))),
    "nested too deeply to read": lambda files: files.update({"auth/x.json": b"[" * 20_000}),
    "bound that is a word": lambda files: files.update(
        changed(files, (INPUT, f"{BODY_IN}.minLength", "many"))
    ),
}


@pytest.mark.parametrize("case", NOT_COMPARABLE)
def test_a_package_that_can_not_be_compared_is_refused(files, case):
    other = dict(files)
    NOT_COMPARABLE[case](other)
    for pair in ((files, other), (other, files)):
        with pytest.raises(InvalidPackage, match=r"^connector\.json: it can't be compared \(.+\)"):
            contract.compare(*pair)
