import pytest

from connector_runtime import errors


def pages(sandbox):
    return [request for request in sandbox.requests if request["method"] == "GET"]


def test_no_message_at_all(connection):
    assert connection.run("get_all_sms") == {"messages": []}


def test_every_page_is_read_newest_first_and_once(connection, sandbox):
    sandbox.seed(2500)
    listed = connection.run("get_all_sms", {})["messages"]
    expected = [message for message in sandbox.messages if message["direction"] != "inbound"]
    assert [message["sid"] for message in listed] == [message["sid"] for message in expected]
    assert len(pages(sandbox)) == 3
    assert pages(sandbox)[0]["query"] == {"PageSize": "1000"}


def test_received_messages_are_left_out(connection, sandbox):
    sent = sandbox.add()
    sandbox.add({"direction": "inbound"})
    reply = sandbox.add({"direction": "outbound-reply"})
    listed = connection.run("get_all_sms")["messages"]
    assert {message["sid"] for message in listed} == {sent["sid"], reply["sid"]}


def test_a_stream_gives_the_same_messages_a_page_at_a_time(connection, sandbox):
    sandbox.seed(1500)
    stream = connection.stream("get_all_sms")
    assert iter(stream) is stream
    assert sandbox.requests == []
    first = next(stream)
    assert len(pages(sandbox)) == 1
    assert [first, *stream] == connection.run("get_all_sms")["messages"]


def test_a_message_that_two_pages_share_comes_once(connection, sandbox):
    shared = sandbox.add()
    sandbox.fail("body", value={
        "messages": [shared, shared],
        "next_page_uri": shared["uri"].rsplit("/", 1)[0] + ".json?PageSize=1000&Page=0",
    })  # fmt: skip
    assert len(connection.run("get_all_sms")["messages"]) == 1
    assert len(pages(sandbox)) == 2


def test_a_repeated_next_page_is_an_error_and_never_a_loop(connection, sandbox):
    sandbox.seed(10)
    sandbox.fail("repeated_page", times=None)
    with pytest.raises(errors.InvalidAnswer, match="a next page that was read before"):
        connection.run("get_all_sms")
    assert len(pages(sandbox)) == 1


@pytest.mark.parametrize(
    "uri",
    [
        None,
        "//api.example.com/2010-04-01/Accounts/{ac}/Messages.json?Page=1",
        "http://127.0.0.1:9/2010-04-01/Accounts/{ac}/Messages.json?Page=1",
        "/2010-04-01/Accounts/AC00000000000000000000000000000000/Messages.json?Page=1",
        "/2010-04-01/Accounts/{ac}/../AC0/Messages.json",
        "/2010-04-01/Accounts/{ac}/%2e%2e/AC0/Messages.json",
        "http://[",
        "file:///etc/passwd",
        "",
        7,
        {},
    ],
    ids=str,
)
def test_a_foreign_next_page_is_never_followed(connection, sandbox, uri):
    if isinstance(uri, str):
        uri = uri.format(ac=sandbox.account_sid)
    sandbox.fail("foreign_page", times=None, uri=uri)
    with pytest.raises(errors.InvalidAnswer, match=r"(next page|another server)"):
        connection.run("get_all_sms")
    assert len(sandbox.requests) == 1


@pytest.mark.parametrize(
    "value", [[], {}, {"messages": None}, {"messages": {}}, {"messages": ["x"]}, 7, None], ids=str
)
def test_a_page_without_messages_is_an_error(connection, sandbox, value):
    text = "null" if value is None else None
    sandbox.fail("body", value=value, text=text)
    with pytest.raises(errors.InvalidAnswer, match=r"(without 'messages'|holds no message)"):
        connection.run("get_all_sms")


@pytest.mark.parametrize("sid", [None, 7, [], "SMx"], ids=str)
def test_a_message_without_a_proper_sid_is_an_error_and_not_left_out(connection, sandbox, sid):
    sandbox.add()
    sandbox.fail("body", patch={"sid": sid})
    with pytest.raises(errors.InvalidAnswer, match=r"messages\[0\].sid"):
        connection.run("get_all_sms")


def test_a_fault_in_the_middle_is_repeated_without_loss_or_repetition(connection, sandbox):
    sandbox.seed(2500)
    sandbox.fail("reset_before", after=1)
    sandbox.fail("throttle", after=1)
    listed = connection.run("get_all_sms")["messages"]
    assert len({message["sid"] for message in listed}) == len(listed)
    assert len(listed) == len([m for m in sandbox.messages if m["direction"] != "inbound"])


def test_a_fault_that_stays_ends_a_stream_with_an_error(connection, sandbox):
    sandbox.seed(1500)
    sandbox.fail("error", times=None, after=1, status=503)
    stream = connection.stream("get_all_sms")
    assert next(stream)["sid"]
    with pytest.raises(errors.Unavailable):
        list(stream)


def test_it_takes_no_input(connection, sandbox):
    with pytest.raises(errors.InvalidInput, match="'limit' is not known"):
        connection.run("get_all_sms", {"limit": 5})
    assert sandbox.requests == []


def test_only_a_list_can_be_streamed(connection):
    with pytest.raises(errors.InvalidInput, match="no list to stream"):
        connection.stream("send_sms", {})


@pytest.fixture
def convert(twilio):
    """The handler's own conversion of a page, and the names of the document's fields."""
    action = twilio.action("get_all_sms")
    fields = action.output_schema["properties"]["messages"]["items"]["required"]
    return lambda page: action.handler.to_outputs(None, page), fields


def made_up(fields, missing=None, **changes):
    others = ("direction", "messaging_service_sid", "num_media", "num_segments", "subresource_uris")
    message = {name: name for name in (*fields, *others)} | {"price": None} | changes
    message.pop(missing, None)
    return message


@pytest.mark.parametrize("missing", ["error_message", "direction", "subresource_uris"])
def test_one_field_more_and_one_fewer_changes_nothing(convert, missing):
    to_outputs, fields = convert
    (output,) = to_outputs([made_up(fields, missing, a_new_field=7)])
    assert set(output) == set(fields)
    assert output["error_message"] == (None if missing == "error_message" else "error_message")


def test_each_message_of_a_page_is_looked_at_by_itself(convert):
    to_outputs, fields = convert
    priced = made_up(fields, price="-0.00750", error_code=30003)
    outputs = to_outputs([made_up(fields), made_up(fields, "uri", new=7), {}, priced])
    assert [set(output) for output in outputs] == 4 * [set(fields)]
    assert (outputs[3]["price"], outputs[3]["error_code"]) == (-0.0075, "30003")
