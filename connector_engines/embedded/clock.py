"""The time for cases. It never goes back, and no timer is missed when the clock is set."""

from __future__ import annotations

import threading
import time


class Clock:
    """Gives the wall clock's time. Where that was set back, it adds the time that has passed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ahead = time.time() - time.monotonic()

    def now(self) -> float:
        """Return seconds since 1970, never fewer than before."""
        with self._lock:
            passed = time.monotonic()
            self._ahead = max(self._ahead, time.time() - passed)
            return self._ahead + passed
