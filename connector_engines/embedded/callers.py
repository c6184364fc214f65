"""The threads that make calls. Handing a call to one costs a third of what an executor takes."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

Job = Callable[[], None]


class Callers:
    """Threads that make calls, each one call at a time. They are kept for later calls.

    Take a place first, then run the call. The call must raise nothing and must give the place back
    at its end.
    """

    def __init__(self, most: int) -> None:
        self._lock = threading.Lock()
        self._most = self._free = most
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []

    def take(self) -> bool:
        """Take a place, and tell whether there was one."""
        with self._lock:
            taken = self._free > 0
            self._free -= taken
        return taken

    def give(self) -> None:
        """Give a place back."""
        with self._lock:
            self._free += 1

    def run(self, job: Job) -> None:
        with self._lock:
            if len(self._threads) < self._most - self._free:
                # A daemon: Python can end without `close`, and does not wait for idle threads.
                thread = threading.Thread(
                    target=_make_calls, args=(self._jobs,), name="connector-call", daemon=True
                )
                thread.start()
                self._threads.append(thread)
        self._jobs.put(job)

    def close(self) -> None:
        """Wait for the calls that are under way."""
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()


def _make_calls(jobs: queue.SimpleQueue[Job | None]) -> None:
    while (job := jobs.get()) is not None:
        job()
        del job  # else it would keep its case in memory while this thread waits
