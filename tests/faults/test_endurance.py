"""A short run of the endurance test; the long one is `make soak`."""

import os

from tests.faults import endurance


def test_of_many_sends_with_faults_none_is_lost_and_none_is_sent_twice():
    seed = int.from_bytes(os.urandom(4), "big")
    print(f"seed {seed}")
    counts = endurance.many_sends(150, seed)
    print(counts)
    assert counts["returned"] > 75
