"""What an engine takes for the time when somebody sets the clock."""

import time

from connector_engines.embedded.clock import Clock


def test_time_follows_a_clock_that_is_set_ahead_and_counts_on_when_it_is_set_back(monkeypatch):
    wall, ahead = time.time, [0.0]
    monkeypatch.setattr(time, "time", lambda: wall() + ahead[0])
    clock = Clock()
    assert abs(clock.now() - wall()) < 5
    ahead[0] = 86400
    later = clock.now()
    assert later - wall() > 86400 - 5
    ahead[0] = -86400
    assert 0 <= clock.now() - later < 5
