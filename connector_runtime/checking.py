"""A connector's check of an environment: many questions asked at once, and what was found."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import TYPE_CHECKING, Any, NamedTuple

from . import errors

if TYPE_CHECKING:
    from .connection import Call

SECONDS = 14.0  # the longest that a check takes; 15 with the start of the program
_AT_ONCE = 8  # a service may refuse more requests at one time
LANGUAGES = ("en", "es")  # in which findings and codes are explained
HOLDS, FAILS, UNKNOWN = "holds", "fails", "unknown"


class Finding(NamedTuple):
    """One line of a check.

    `id` names what was checked, for programs; `title` for people. `step` is the step of the
    connector's set-up that it belongs to, if any. `verdict` is "holds", "fails" or "unknown".
    `remedy` says what to do where it does not hold.
    """

    id: str
    step: int | None
    title: str
    verdict: str
    detail: str
    remedy: str | None = None


class Question:
    """A request under way."""

    def __init__(self, ends: float) -> None:
        self._ends = ends
        self.future: Future[Any] = Future()

    def answer(self) -> Any:
        """Wait for the decoded answer. Raise the request's ConnectorError; NoAnswer: too late."""
        try:
            return self.future.result(max(self._ends - time.monotonic(), 0))
        except FutureTimeoutError:
            raise errors.NoAnswer(
                f"No answer within the {SECONDS:g} s that a check may take. It may be tried again."
            ) from None


class Inquiry:
    """What a connector's `auth.check` is given: the settings, and a way to ask many things at once.

    `globals` and `settings` are as in a Call. `recipients` are whom the caller wants to reach.
    `language` is a code such as "en". Whatever is asked must change nothing at the service.
    """

    def __init__(
        self,
        make_call: Callable[[], Call],
        globals_: Mapping[str, Any],
        settings: Mapping[str, Any],
        recipients: Sequence[str],
        language: str,
    ) -> None:
        self.globals = globals_
        self.settings = settings
        self.recipients = tuple(recipients)
        self.language = language
        self._make_call = make_call
        self._ends = time.monotonic() + SECONDS
        self._asked: queue.SimpleQueue[_Asked | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._is_over = False

    def ask(
        self, path: str, params: Mapping[str, Any] | None = None, host: str | None = None
    ) -> Question:
        """Begin a GET; `host` is a name from the manifest's `hosts`."""
        question = Question(self._ends)
        self._asked.put(_Asked(question.future, path, params, host))
        if len(self._threads) < _AT_ONCE:
            # Not a thread pool: Python waits at its end for the threads of a pool.
            thread = threading.Thread(target=self._work, name="connector-check", daemon=True)
            self._threads.append(thread)
            thread.start()
        return question

    def end(self) -> None:
        """Begin no more requests, and wait for those under way while there is time."""
        self._is_over = True
        for _ in self._threads:
            self._asked.put(None)
        for thread in self._threads:
            thread.join(max(self._ends - time.monotonic(), 0))

    def unreadable(self, why: str) -> errors.ConnectorError:
        """Make the error for an answer that came and can't be used; `why` ends its sentence."""
        return self._make_call().unreadable(why)

    def _work(self) -> None:
        while (asked := self._asked.get()) is not None:
            if self._is_over or time.monotonic() >= self._ends:
                continue
            try:
                with self._make_call() as call:
                    asked.future.set_result(call.get(asked.path, asked.params, asked.host))
            except BaseException as error:  # noqa: BLE001 - raised where the answer is waited for
                asked.future.set_exception(error)


class _Asked(NamedTuple):
    future: Future[Any]
    path: str
    params: Mapping[str, Any] | None
    host: str | None
