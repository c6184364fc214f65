"""How the proxy keeps a request that arrives in pieces, and how it finds the key of a call."""

import json

import hypothesis
import pytest
from hypothesis import strategies

from connector_engines.proxy.protocol import Fields, TooLarge, key_of

JSON = strategies.recursive(
    strategies.none() | strategies.booleans() | strategies.integers() | strategies.text(),
    lambda inner: strategies.lists(inner) | strategies.dictionaries(strategies.text(), inner),
    max_leaves=8,
)
NAMES = strategies.sampled_from(["to", "body", "spiff__task_data", "spiff__task_id", 'a "\\b"'])


def fed(pieces, most_bytes=100_000):
    fields = Fields(most_bytes)
    for piece in pieces:
        fields.feed(piece)
    return fields.value()


@hypothesis.settings(derandomize=True, database=None, deadline=None)
@hypothesis.given(
    strategies.dictionaries(NAMES, JSON), strategies.integers(1, 20), strategies.booleans()
)
def test_pieces_make_no_difference_and_what_an_engine_adds_is_left_out(inputs, size, is_ascii):
    text = json.dumps(inputs, ensure_ascii=is_ascii, indent=size % 3 or None).encode()
    kept = {name: None if name == "spiff__task_data" else inputs[name] for name in inputs}
    assert fed(text[place : place + size] for place in range(0, len(text), size)) == kept


@pytest.mark.parametrize("quoted", ['"\\\\"', '"\\""', '"\\\\\\""', '"a\\\\"', '"}"'])
@pytest.mark.parametrize("name", ["body", "spiff__task_data"])
def test_text_may_hold_what_ends_a_text_or_an_object(name, quoted):
    text = f'{{"{name}": {quoted}, "to": "x"}}'.encode()
    value = json.loads(quoted) if name == "body" else None
    for place in range(len(text)):
        assert fed([text[:place], text[place:]]) == {name: value, "to": "x"}


def test_only_what_is_kept_is_limited():
    assert fed([b'{"spiff__a": "' + 1000 * b"x", b'"}'], most_bytes=100) == {"spiff__a": None}
    with pytest.raises(TooLarge):
        fed([b'{"a": "' + 1000 * b"x"], most_bytes=100)


@pytest.mark.parametrize(
    ("header", "task", "key"),
    [
        ([], "task", "task"),
        ([], " ", None),
        ([], 5, None),
        (['"order 1"'], "task", "order 1"),
        (['"a\\"b\\\\"'], None, 'a"b\\'),
        ([" order-1\t"], None, "order-1"),
    ],
)
def test_header_is_the_key_or_else_the_task(header, task, key):
    assert key_of(header, task) == key
