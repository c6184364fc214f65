"""The clock for cases. It never goes back, so no timer is missed when the system clock is set."""

from __future__ import annotations

import threading
import time


class Clock:
    """Returns the system's time. If that was set back, it counts on from the last time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ahead = time.time() - time.monotonic()

    def now(self) -> float:
        """Return the time in seconds since 1970. It is never smaller than before."""
        with self._lock:
            passed = time.monotonic()
            self._ahead = max(self._ahead, time.time() - passed)
            return self._ahead + passed
