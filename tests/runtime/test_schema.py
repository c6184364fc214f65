import http.server
import json
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connector_runtime.schema import Schema, fast_engine, reference_engine
from connector_runtime.settings import settings_schema
from tests.conftest import ROOT

MANIFEST = json.loads((ROOT / "connector.json").read_text("utf-8"))
DOCUMENTS = {
    path.name: json.loads(path.read_text("utf-8")) for path in sorted((ROOT / "schemas").iterdir())
}
DOCUMENTS["settings"] = settings_schema(MANIFEST)
PAIRS = {
    name: (Schema(document, fast_engine), Schema(document, reference_engine))
    for name, document in DOCUMENTS.items()
}

text = st.text(st.characters(), max_size=40) | st.sampled_from(
    ["+14155550123", "+14155550123\n", "SM" + 32 * "a", "AC" + 32 * "a", "MG" + 32 * "b", "queued",
     "Clinic 24", "+٤١٥", "\ud800", "x\u2028", "Tue, 15 May 2018 16:02:24 +0000", "http://[::1]",
     "whatsapp:+14155550123", "https://example.com/\x1c", "1" * 1600, "👋" * 1601],
)  # fmt: skip
scalar = st.none() | st.booleans() | st.integers() | st.floats() | text | st.just(10**400)
anything = st.recursive(
    scalar, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3)
)


def example_of(document):
    """An object that a schema takes, or almost, from its own examples."""
    return {
        name: [example_of(field["items"])] if field.get("type") == "array" and "properties"
        in field["items"] else field.get("examples", ["x"])[0]
        for name, field in document["properties"].items()
    }  # fmt: skip


@st.composite
def near(draw, document):
    """A value close to what a schema takes, with a few fields spoilt."""
    value = example_of(document)
    for place in [value, *(v[0] for v in value.values() if isinstance(v, list) and v)]:
        if not isinstance(place, dict):
            continue
        for name in draw(st.lists(st.sampled_from([*place, "unknown"]), max_size=3)):
            if draw(st.booleans()):
                place[name] = draw(anything)
            else:
                place.pop(name, None)
    return value


@pytest.mark.parametrize("name", DOCUMENTS)
@settings(max_examples=120, deadline=None, derandomize=True, print_blob=True)
@given(data=st.data())
def test_both_validators_give_the_same_verdict_and_the_same_paths(name, data):
    value = data.draw(near(DOCUMENTS[name]) | anything)
    fast, reference = PAIRS[name]
    assert fast.faults(value) == reference.faults(value)
    assert fast.problems(value) == reference.problems(value)
    if not any(fault.keyword == "surrogate" for fault in reference.faults(value)):
        assert fast.accepts(value) == reference.accepts(value) == (not reference.faults(value))


@pytest.mark.parametrize("engine", [fast_engine, reference_engine])
def test_a_wrong_schema_is_refused(engine):
    with pytest.raises(ValueError, match="nonsense"):
        Schema({"type": "nonsense", "properties": {}}, engine)


@pytest.fixture
def watched():
    """The address of a server that must see no request, and the paths that it saw."""
    seen = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/", seen
        server.shutdown()


OUTSIDE = {
    "reference": lambda to: {"properties": {"a": {"$ref": to}}},
    "reference in a list": lambda to: {"properties": {}, "allOf": [{"$ref": to}]},
    "dynamic reference": lambda to: {"properties": {"a": {"$dynamicRef": to}}},
    "dialect": lambda to: {"$schema": to, "properties": {}},
    "identity": lambda to: {"$id": to, "properties": {"a": {"$ref": "other"}}},
    "identity of a part": lambda to: {"properties": {"a": {"$id": to, "$ref": "#/b"}}},
}


@pytest.mark.parametrize("engine", [fast_engine, reference_engine])
@pytest.mark.parametrize("document", OUTSIDE.values(), ids=OUTSIDE)
def test_a_schema_that_names_what_is_outside_it_is_refused_and_nothing_is_fetched(
    engine, document, watched, tmp_path
):
    address, seen = watched
    (tmp_path / "other").write_text("{}")
    for to in (address, f"{tmp_path.as_uri()}/other", "relative.json"):
        with pytest.raises(ValueError, match=r"\$(ref|dynamicRef|schema|id)"):
            Schema(document(to), engine)
    assert seen == []


@pytest.mark.parametrize("engine", [fast_engine, reference_engine])
def test_a_validator_by_itself_fetches_nothing_either(engine, watched, tmp_path):
    address, seen = watched
    (tmp_path / "other").write_text("{}")
    for to in (address, f"{tmp_path.as_uri()}/other"):
        with pytest.raises(Exception, match=r"(?i)unresolvable|not present"):
            engine({"properties": {"a": {"$ref": to}}}).accepts({"a": 1})
    assert seen == []


@pytest.mark.parametrize("engine", [fast_engine, reference_engine])
def test_references_inside_a_schema_and_properties_named_like_keywords_work(engine):
    schema = Schema(
        {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$defs": {"text": {"$anchor": "text", "type": "string"}},
            "properties": {
                "$ref": {"$ref": "#/$defs/text"},
                "$id": {"$ref": "#text"},
                "$schema": {"$dynamicRef": "#text"},
            },
        },
        engine,
    )
    assert schema.problems({"$ref": "x", "$id": "x", "$schema": "x"}) == []
    assert not any(schema.accepts({name: 1}) for name in ("$ref", "$id", "$schema"))


BEYOND = {
    "deep pattern": {"properties": {"a": {"pattern": "(" * 100_000 + ")" * 100_000}}},
    "far pattern": {"properties": {"a": {"pattern": f"a{{{9**30}}}"}}},
    "wrong pattern": {"properties": {"a": {"pattern": "("}}},
    "not finite": {"properties": {"a": {"default": float("inf")}}},
    "surrogate": {"properties": {"\ud800": {}}},
    "deep": json.loads('{"properties":{"a":' + '{"not":' * 900 + "{}" + "}" * 902),
}


@pytest.mark.parametrize("engine", [fast_engine, reference_engine])
@pytest.mark.parametrize("document", BEYOND.values(), ids=BEYOND)
def test_a_schema_beyond_reason_is_a_value_error_and_nothing_else(engine, document):
    with pytest.raises(ValueError):  # noqa: PT011 -- the validators' own words differ
        Schema(document, engine)


HOSTILE = {
    "bytes": ({"a": b"x"}, "'a' must be text, a number"),
    "NaN": ({"a": float("nan")}, "'a' must be a finite number"),
    "surrogate": ({"a": "\udc00"}, "'a' contains half a character"),
    "surrogate in a name": ({"\udc00": 1}, "'(name)' contains half a character"),
    "number as name": ({1: 1}, "'(name)' must be text"),
    "tuple": ({"a": (1,)}, "'a' must be text, a number"),
    "object": ({"a": object()}, "'a' must be text, a number"),
}


@pytest.mark.parametrize("engine", [fast_engine, reference_engine])
@pytest.mark.parametrize(("value", "expected"), HOSTILE.values(), ids=HOSTILE)
def test_what_is_no_json_is_a_problem_with_a_place(engine, value, expected):
    (problem,) = Schema({"type": "object", "properties": {}}, engine).problems(value)
    assert problem.startswith(expected)


def test_a_value_nested_beyond_reason_is_a_problem_and_no_crash():
    value: list = []
    for _ in range(10_000):
        value = [value]
    (problem,) = Schema({"type": "object", "properties": {}}).problems({"a": value})
    assert problem.endswith("is nested too deeply")


def test_rules_without_words_of_their_own_are_named():
    schema = Schema(
        {
            "type": "object",
            "properties": {
                "a": {"enum": ["x", "y"]},
                "b": {"const": 1},
                "c": {"maxItems": 0},
                "d": {"type": ["string", "null"]},
            },
        }
    )
    assert schema.problems({"a": "hush", "b": 2, "c": ["hush"], "d": 5}) == [
        "'a' must be 'x' or 'y'",
        "'b' must be 1",
        "'c' breaks the rule 'maxItems': 0",
        "'d' must be text or null",
    ]


CLOSED = {"type": "object", "additionalProperties": False, "properties": {"a": {}, "b": {}}}


@pytest.mark.parametrize(
    ("document", "value"),
    [
        ({**CLOSED, "required": ["a", "b"]}, {"a": 1, "b": 2}),
        ({**CLOSED, "required": ["a", "b"]}, {"a": 1}),
        ({**CLOSED, "required": ["a", "b"]}, {"a": 1, "c": 2}),
        ({**CLOSED, "required": ["a"]}, {"a": 1}),
        ({**CLOSED, "required": ["a"]}, {"b": 1}),
        ({**CLOSED, "required": ["a", "b"], "additionalProperties": True}, {"x": 1, "y": 2}),
        ({**CLOSED, "required": ["a", "b"], "minProperties": 3}, {"a": 1, "b": 2}),
        ({"const": {**CLOSED, "required": ["a", "b"]}}, {**CLOSED, "required": ["a", "b"]}),
    ],
)
def test_the_quick_verdict_is_the_references(document, value):
    assert fast_engine(document).accepts(value) == reference_engine(document).accepts(value)
