"""Twilio's official library for Python, as an independent client of the sandbox."""

from datetime import date, datetime, timezone

import pytest
from twilio.base.exceptions import TwilioRestException
from twilio.http.http_client import TwilioHttpClient
from twilio.rest import Client

SERVICE = "MG" + 32 * "a"
TO, SENDER = "+14155550123", "+15005550006"


@pytest.fixture
def library(sandbox):
    client = Client(sandbox.account_sid, sandbox.auth_token)
    for domain in (client.api, client.accounts, client.messaging, client.voice, client.lookups):
        domain.base_url = sandbox.url
    with client.http_client.session:
        yield client


def test_create_and_fetch(library, sandbox):
    created = library.messages.create(to=TO, from_=SENDER, body="Hola, mañana")
    assert (created.status, created.body, created.from_) == ("queued", "Hola, mañana", SENDER)
    sandbox.advance(180)
    fetched = library.messages(created.sid).fetch()
    assert (fetched.status, fetched.price, fetched.num_segments) == ("delivered", "-0.00750", "1")
    assert isinstance(fetched.date_sent, datetime)


def test_create_through_a_service_with_media_and_a_schedule(library, sandbox):
    moment = datetime.fromtimestamp(sandbox.now() + 3600, timezone.utc)
    created = library.messages.create(
        to=TO,
        messaging_service_sid=SERVICE,
        media_url=["https://example.com/a.png"],
        send_at=moment,
        schedule_type="fixed",
    )
    assert (created.status, created.from_, created.num_media) == ("scheduled", None, "1")
    assert created.update(status="canceled").status == "canceled"


def test_update_and_delete(library, sandbox):
    created = library.messages.create(to=TO, from_=SENDER, body="Hola")
    sandbox.advance(180)
    assert created.update(body="").body == ""
    assert created.delete() is True
    with pytest.raises(TwilioRestException) as caught:
        library.messages(created.sid).fetch()
    assert (caught.value.status, caught.value.code) == (404, 20404)


def test_list_follows_the_pages(library, sandbox):
    sandbox.seed(120)
    sids = [message.sid for message in library.messages.stream(page_size=50)]
    assert sids == [message["sid"] for message in sandbox.messages]
    assert len(library.messages.list(limit=7)) == 7
    page = library.messages.page(page_size=100)
    assert len(list(page)) == 100
    following = page.next_page()
    assert len(list(following)) == 20
    assert following.next_page() is None
    assert len(list(following.previous_page())) == 100


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"to": "+14155550101"}, ["14 May", "15 May"]),
        ({"from_": "+14155550100"}, ["15 May"]),
        ({"date_sent": date(2018, 5, 15)}, ["15 May late", "15 May"]),
        ({"date_sent": datetime(2018, 5, 15, 23, 59, 59)}, ["15 May late"]),
        ({"date_sent_before": date(2018, 5, 14)}, ["14 May"]),
        ({"date_sent_before": datetime(2018, 5, 15, 0, 0, 1)}, ["15 May", "14 May"]),
        ({"date_sent_after": date(2018, 5, 16)}, ["16 May"]),
        ({"date_sent_after": datetime(2018, 5, 15, 12)}, ["16 May", "15 May late"]),
        (
            {"date_sent_after": date(2018, 5, 15), "date_sent_before": date(2018, 5, 15)},
            ["15 May late", "15 May"],
        ),
        ({"to": "+14155550101", "date_sent_after": date(2018, 5, 15)}, ["15 May"]),
    ],
)
def test_list_with_every_filter(library, sandbox, filters, expected):
    for body, moment, changed in (
        ("14 May", "Mon, 14 May 2018 12:00:00 +0000", {"to": "+14155550101"}),
        ("15 May", "Tue, 15 May 2018 00:00:00 +0000",
         {"to": "+14155550101", "from": "+14155550100"}),
        ("15 May late", "Tue, 15 May 2018 23:59:59 +0000", {}),
        ("16 May", "Wed, 16 May 2018 00:00:00 +0000", {}),
    ):  # fmt: skip
        sandbox.add({"body": body, "date_created": moment, "date_sent": moment, **changed})
    listed = [message.body for message in library.messages.list(**filters)]
    assert sorted(listed) == sorted(expected)


@pytest.mark.parametrize(
    ("changed", "status", "code"),
    [
        ({"to": "+15005550003"}, 400, 21408),
        ({"from_": None, "messaging_service_sid": "MG" + 31 * "0" + "2"}, 404, 21701),
        ({"body": "x" * 1601}, 400, 21617),
    ],
)
def test_errors_have_twilios_form(library, changed, status, code):
    form = {"to": TO, "from_": SENDER, "body": "Hola", **changed}
    with pytest.raises(TwilioRestException) as caught:
        library.messages.create(**{name: value for name, value in form.items() if value})
    assert (caught.value.status, caught.value.code) == (status, code)
    assert caught.value.uri.endswith("/Messages.json")
    assert caught.value.msg.startswith("Unable to create record: ")


def test_wrong_credentials(sandbox):
    client = Client(sandbox.account_sid, "wrong")
    client.api.base_url = sandbox.url
    with client.http_client.session, pytest.raises(TwilioRestException) as caught:
        client.messages("SM" + 32 * "a").fetch()
    assert (caught.value.status, caught.value.code) == (401, 20003)


def test_retries_get_through_a_reset(sandbox):
    http = TwilioHttpClient(max_retries=2, timeout=10)
    client = Client(sandbox.account_sid, sandbox.auth_token, http_client=http)
    client.api.base_url = sandbox.url
    http.session.mount("http://", http.session.get_adapter("https://"))
    sandbox.fail("reset_before", method="GET", times=2)
    with http.session:
        assert client.messages.list() == []
    assert [request["status"] for request in sandbox.requests] == [None, None, 200]


def test_set_up_as_the_library_asks_for_it(library, sandbox):
    account = library.api.v2010.accounts(sandbox.account_sid)
    assert (account.fetch().type, account.fetch().status) == ("Full", "active")
    assert account.balance.fetch().balance == "25.00000"
    (number,) = library.incoming_phone_numbers.list(phone_number=SENDER)
    assert number.capabilities == {"fax": False, "mms": True, "sms": True, "voice": True}
    sandbox.set_up(verified=[TO])
    assert [caller_id.phone_number for caller_id in library.outgoing_caller_ids.list()] == [TO]
    assert library.lookups.v2.phone_numbers("+573001234567").fetch().country_code == "CO"
    service = library.messaging.v1.services(SERVICE)
    assert service.fetch().sid == SERVICE
    assert [number.phone_number for number in service.phone_numbers.list()] == [SENDER]
    assert service.alpha_senders.list() == service.short_codes.list() == []
    assert [campaign.campaign_status for campaign in service.us_app_to_person.list()] == [
        "VERIFIED"
    ]
    assert [own.sid for own in library.messaging.v1.services.list()] == list(sandbox.setup.services)
    assert library.messaging.v1.tollfree_verifications.list() == []
    permission = library.accounts.v1.messaging_geopermissions.fetch(country_code="CO")
    assert permission.permissions[0]["enabled"] is True
    assert library.voice.v1.dialing_permissions.countries("CO").fetch().low_risk_numbers_enabled
