"""Values that behave like plain JSON and are not: taken as what they are, or refused by name."""

import collections
import decimal
import enum
import types

import pytest

from connector_runtime import environments, errors, settings
from connector_runtime.schema import Schema, fast_engine, reference_engine

TO = "+14155550123"


class Text(str):
    """As Django's templates return."""

    def __html__(self):
        return self


class Loud(str):
    __slots__ = ()

    def __str__(self):
        return "LOUD"


class Number(int):
    pass


class Real(float):
    pass


class Colour(str, enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    ONE = 1


class Things(list):
    pass


Pair = collections.namedtuple("Pair", "a b")
DOCUMENT = {
    "type": "object",
    "properties": {
        "text": {"type": "string", "maxLength": 5, "pattern": "^[a-z]+$"},
        "number": {"type": "number", "maximum": 5},
        "whole": {"type": "integer", "minimum": 1},
        "things": {"type": "array", "items": {"type": "string"}},
        "inner": {"type": "object", "required": ["a"]},
        "nothing": {"type": "null"},
    },
}
VALUES = {
    "a subclass of str": {"text": Text("good")},
    "a subclass of str that is too long": {"text": Text("too long")},
    "a str that prints as another": {"text": Loud("good")},
    "an enumeration's str": {"text": Colour.RED},
    "an enumeration's int": {"whole": Level.ONE},
    "a subclass of int": {"whole": Number(3)},
    "a subclass of int that is too small": {"whole": Number(0)},
    "a subclass of float": {"number": Real(2.5)},
    "a subclass of float that is too large": {"number": Real(7)},
    "a float that is whole": {"whole": 3.0},
    "a decimal": {"number": decimal.Decimal("2.5")},
    "a subclass of list": {"things": Things(["a"])},
    "a subclass of list with a number": {"things": Things([1])},
    "a tuple": {"things": ("a", "b")},
    "a named tuple": {"things": Pair("a", "b")},
    "a set": {"things": {"a"}},
    "an ordered dict": {"inner": collections.OrderedDict(a=1)},
    "a default dict without the name": {"inner": collections.defaultdict(int)},
    "a mapping that is no dict": {"inner": types.MappingProxyType({"a": 1})},
    "a key that is a subclass of str": {Text("text"): "good"},
    "a key that is an enumeration's": {Colour.RED: "x"},
    "bytes": {"text": b"good"},
    "true as a number": {"number": True},
    "a huge int": {"number": 10**400},
    "an int of 5,000 digits": {"number": 10**5000},
    "a negative int of 5,000 digits": {"number": -(10**5000)},
    "a text of 5,000 digits": {"number": 5000 * "9"},
    "an object": {"text": object()},
}


@pytest.mark.parametrize("name", VALUES)
def test_both_validators_say_the_same_of_it(name):
    fast, reference = (Schema(DOCUMENT, engine) for engine in (fast_engine, reference_engine))
    problems = fast.problems(VALUES[name])
    assert problems == reference.problems(VALUES[name])
    assert all(problem.startswith("'") and "999999" not in problem for problem in problems)


@pytest.mark.parametrize("kind", [Text, Loud])
def test_a_text_that_is_a_subclass_is_sent_as_what_it_is(twilio_folder, sandbox, kind):
    with twilio_folder.connect(
        {kind(name): kind(value) for name, value in sandbox.settings.items()}
    ) as connection:
        output = connection.run("send_sms", {"to": kind(TO), "body": kind("Hola")})
    assert output["body"] == "Hola"
    assert sandbox.requests[-1]["form"]["To"] == TO


def test_an_input_that_is_a_mapping_and_no_dict_is_taken(twilio_folder, sandbox):
    inputs = types.MappingProxyType({"to": TO, "body": "Hola"})
    given = types.MappingProxyType(sandbox.settings)
    assert twilio_folder.run("send_sms", inputs, given)["body"] == "Hola"


@pytest.mark.parametrize("value", [14155550123, 1.5, True, decimal.Decimal(1), ["+14155550123"]])
def test_what_is_no_text_is_refused_by_name_and_nothing_sent(twilio_folder, sandbox, value):
    with pytest.raises(errors.InvalidInput, match="'to'"):
        twilio_folder.run("send_sms", {"to": value, "body": "x"}, sandbox.settings)
    assert sandbox.requests == []


GOOD = {"accountId": "AC" + 32 * "a", "authToken": "made-up"}


@pytest.mark.parametrize(
    "value",
    [5000 * "9", "-" + 5000 * "9", 5000 * "9" + ".5", "0." + 5000 * "9" + "x", 10**5000, 10**400,
     "9" * 400 + ".0"],
    ids=["whole", "negative", "with a fraction", "and a letter", "an int", "a shorter int", "inf"],
)  # fmt: skip
@pytest.mark.parametrize("name", ["timeoutSeconds", "maxAttempts"])
def test_a_number_of_5000_digits_is_a_wrong_configuration(twilio_folder, name, value):
    with pytest.raises(errors.InvalidConfiguration, match=f"'{name}' must be") as caught:
        twilio_folder.connect({**GOOD, name: value})
    assert "999999" not in str(caught.value)


def test_a_number_of_5000_digits_in_a_file_is_a_wrong_configuration(tmp_path):
    path = tmp_path / "connector.yaml"
    path.write_text(f"environments: {{test: {{timeoutSeconds: {5000 * '9'}}}}}")
    with pytest.raises(errors.InvalidConfiguration, match="is not valid YAML"):
        environments.read(path)


def test_digits_stay_text_where_a_parameter_is_text(twilio_folder):
    checked = settings.check(
        {**GOOD, "from": "12345", "authToken": "0123456789"},
        Schema(settings.settings_schema(twilio_folder.manifest)),
    )
    assert checked["from"] == "12345"
    assert checked["authToken"] == "0123456789"


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("timeoutSeconds", 300, 300.001),
        ("timeoutSeconds", 0.1, 0.099),
        ("maxAttempts", 10, 11),
        ("maxAttempts", 1, 0),
        ("maxAttempts", "10", "11"),
    ],
)
def test_a_number_may_be_the_least_and_the_most_and_no_more(twilio_folder, name, good, bad):
    twilio_folder.connect({**GOOD, name: good}).close()
    with pytest.raises(errors.InvalidConfiguration, match=f"'{name}' must be"):
        twilio_folder.connect({**GOOD, name: bad})
