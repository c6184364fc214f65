"""How long the connector waits before it repeats what may be repeated, as the server sees it."""

import concurrent.futures
import itertools
import time

import pytest

from connector_runtime import errors
from tests.faults import server as faults
from tests.faults.test_hostile_answers import whole

INPUTS = {"to": "+14155550123", "body": "x"}


def pauses(twilio, certificates, attempts):
    """The seconds between the attempts of one send that is always answered with 429."""
    arrived = []

    def respond(wire, form):
        arrived.append(time.monotonic())
        wire.send(whole(b"{}", status=b"429 Too Many Requests"))

    with (
        faults.Server("plain", certificates, respond=respond) as server,
        faults.connected(twilio, server.base_url, {}, maxAttempts=attempts) as connection,
    ):
        with pytest.raises(errors.Throttled):
            connection.run("send_sms", INPUTS)
        assert len(server.stored) == attempts
    return [later - earlier for earlier, later in itertools.pairwise(arrived)]


@pytest.fixture(scope="module")
def seen(twilio_folder, certificates):
    """The pauses of 24 sends of five attempts, as four tuples."""
    with concurrent.futures.ThreadPoolExecutor(24) as pool:
        made = pool.map(lambda _: pauses(twilio_folder, certificates, 5), range(24))
        return list(zip(*made, strict=True))


@pytest.mark.parametrize("place", range(4))
def test_each_pause_is_twice_the_one_before_from_a_tenth_of_a_second(seen, place):
    longest = 0.1 * 2**place
    assert min(seen[place]) >= longest / 2  # a pause is never shorter, however slow the machine
    assert min(seen[place]) < longest  # of 24 that are evenly spread below it


def test_pauses_are_spread_so_that_callers_do_not_come_back_at_once(seen):
    assert max(seen[3]) - min(seen[3]) > 0.1  # between 0.4 and 0.8 s
