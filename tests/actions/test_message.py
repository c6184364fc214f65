"""What becomes of a message's fields, however the service changes them."""

import pytest

from actions._message import _FIELDS, to_output, to_outputs


def message(**changes):
    others = ("direction", "messaging_service_sid", "num_media", "num_segments", "subresource_uris")
    return {name: name for name in (*_FIELDS, *others)} | {"price": None} | changes


def without(name, **changes):
    left = message(**changes)
    del left[name]
    return left


def test_the_documents_fields_are_left():
    assert set(to_output(None, message())) == set(_FIELDS)


@pytest.mark.parametrize("missing", ["error_message", "direction", "subresource_uris"])
def test_one_field_more_and_one_fewer_changes_nothing(missing):
    output = to_output(None, without(missing, a_new_field=7))
    assert set(output) == set(_FIELDS)
    assert output["error_message"] == (None if missing == "error_message" else "error_message")


def test_each_message_of_a_page_is_looked_at_by_itself():
    page = [message(), without("uri", new=7), {}, message(price="-0.00750", error_code=30003)]
    outputs = to_outputs(None, page)
    assert [set(output) for output in outputs] == 4 * [set(_FIELDS)]
    assert (outputs[3]["price"], outputs[3]["error_code"]) == (-0.0075, "30003")
