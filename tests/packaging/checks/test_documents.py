import pytest

from tests.packaging.checks.planting import (
    LOOK_UP,
    append,
    find,
    replace,
    write,
)

FAULTS = {
    "json: not at all": ("auth/hints.json", "", write("auth/hints.json", "{")),
    "json: empty": ("auth/hints.json", "", write("auth/hints.json", "")),
    "json: connector.json": ("connector.json", "", append("connector.json", b"}")),
    "json: byte order mark": ("auth/x.json", "", write("auth/x.json", b"\xef\xbb\xbf{}")),
    "json: NaN": ("auth/x.json", "", write("auth/x.json", '{"x": [NaN]}')),
    "json: infinity": ("auth/x.json", "", write("auth/x.json", '{"x": -Infinity}')),
    "json: half a character": (
        "schemas/send_sms.input.json", "title",
        replace("schemas/send_sms.input.json", '"title": "', r'"title": "\ud800'),
    ),
    "json: half a character in a name": (
        "auth/hints.json", "(name)", write("auth/hints.json", r'{"\ud800": 1}'),
    ),
    "json: number beyond all bounds": ("auth/x.json", "[0]", write("auth/x.json", "[1e999]")),
    "json: nested 400 deep": (
        LOOK_UP, "not." * 19 + "not.",
        replace(LOOK_UP, '"title"', '"not": ' + '{"not":' * 400 + "{}" + "}" * 400 + ', "title"'),
    ),
    "json: nested 20000 deep": ("auth/x.json", "", write("auth/x.json", "[" * 20_000)),
    "json: nested too deeply": ("auth/x.json", "", write("auth/x.json", "[" * 100_000)),
    "json-duplicate-key: at the top": ("auth/x.json", "a", write("auth/x.json", '{"a":1,"a":1}')),
    "json-duplicate-key: below": (
        "auth/x.json", "b", write("auth/x.json", '{"a": [{"b": 1, "c": 2, "b": 3, "b": 4}]}'),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", FAULTS)
def test_a_planted_fault_is_found_and_nothing_else(tree, case):
    find(tree, case, FAULTS[case])
