"""The threads that make calls. This takes a third of the time that a ThreadPoolExecutor needs."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

Job = Callable[[], None]


class Callers:
    """A pool of at most `most` threads. Each makes one call at a time.

    `take` a place first, then `run` the call. The call must not raise, and must `give` the place
    back at its end.
    """

    def __init__(self, most: int) -> None:
        self._lock = threading.Lock()
        self._most = self._free = most
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []

    def take(self) -> bool:
        """Take a place. Return False if there is none."""
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
                # A daemon thread: Python can end without `close` and does not wait for it.
                thread = threading.Thread(
                    target=_make_calls, args=(self._jobs,), name="connector-call", daemon=True
                )
                thread.start()
                self._threads.append(thread)
        self._jobs.put(job)

    def close(self) -> None:
        """Wait for the running calls, then end the threads."""
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()


def _make_calls(jobs: queue.SimpleQueue[Job | None]) -> None:
    while (job := jobs.get()) is not None:
        job()
        # Otherwise this variable would keep the case in memory while the thread waits
        del job
