"""A connector, its connection to one environment, and the steps of one call."""

from __future__ import annotations

import functools
import itertools
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, ParamSpec, Protocol, TypeVar

from . import authentication, errors
from .checking import LANGUAGES, Finding, Inquiry
from .http import Http, Service
from .resolution import Claim, Found, Known, Look, claim_of, identity, look_up, unresolved
from .schema import Schema, place
from .settings import check, merge
from .transport import MIB, Request

if TYPE_CHECKING:
    from .ledger import Ledger

log = logging.getLogger("connector_runtime")

P = ParamSpec("P")
T = TypeVar("T")

_MOST_BYTES = MIB  # of an answer
_MOST_BYTES_OF_A_PAGE = 64 * MIB


def _without_locals(function: Callable[P, T]) -> Callable[P, T]:
    """Remove the frames of `function` from the traceback of a ConnectorError.

    Tools that report errors show what the variables of each frame hold: here numbers, texts and
    settings. A ConnectorError says where, what and what to do without them.
    """

    @functools.wraps(function)
    def call(*arguments: P.args, **named: P.kwargs) -> T:
        try:
            return function(*arguments, **named)
        except errors.ConnectorError as error:
            fault = error
        del arguments, named  # this frame is in the traceback too
        raise _bare(fault)  # here, where no other exception is its context

    return call


class Handler(Protocol):
    """An action's module. `run` returns the output; where the action streams, it yields pages.

    `find`, where the manifest declares it, gives what a call with this input may have made since
    a moment.
    """

    run: Callable[[dict[str, Any], Call], Any]
    find: Callable[[dict[str, Any], Call, datetime], Found]


class Auth(Protocol):
    """A connector's `auth` package.

    `connect` does no I/O and is given all settings but the secrets: the runtime signs in. `check`
    asks about an environment. `describe_code(code, language)` says what one of the service's codes
    means: code, meaning, hint, step, delivery; or None.
    """

    connect: Callable[[Mapping[str, Any]], Service]
    check: Callable[[Inquiry], Iterable[Finding]]
    describe_code: Callable[[str, str], dict[str, Any] | None]


class Action(NamedTuple):
    """One action as the manifest declares it, with its compiled schemas and its handler."""

    name: str
    display_name: str
    description: str
    documentation: str
    globals: tuple[str, ...]
    effect: str
    repeatable: bool
    streams: str | None
    identifier: str | None
    find: bool
    read_with: str | None
    summary: tuple[str, ...]
    codes: tuple[str, ...]
    input: Schema
    output: Schema
    handler: Handler

    @property
    def input_schema(self) -> dict[str, Any]:
        return self.input.document

    @property
    def output_schema(self) -> dict[str, Any]:
        return self.output.document


class Call:
    """What a handler is given beside its input. It never holds a secret.

    `globals` are the global parameters; `settings` are all parameters and options but the secrets.
    """

    def __init__(
        self,
        action: str,
        repeatable: bool,
        parameters: Mapping[str, Any],
        settings: Mapping[str, Any],
        http: Http | _Recorder,
        most_bytes: int,
        ends: float | None = None,
    ) -> None:
        self.action = action
        self.repeatable = repeatable
        self.globals = parameters
        self.settings = settings
        self._http = http
        self._most_bytes = most_bytes
        self._ends = ends
        self._held: list[Callable[[bool], None]] = []

    def __enter__(self) -> Call:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # An answer that can't be understood may belong to another request, so close its connection.
        self._release(understood=kind is None)

    def get(
        self, path: str, params: Mapping[str, Any] | None = None, host: str | None = None
    ) -> Any:
        """Return the decoded answer to a GET; `path` may be a URL of the same host.

        `host` is a name from the manifest's `hosts`; without one, it is the service's own.
        """
        return self._request("GET", path, params=params, host=host)

    def post(self, path: str, form: Mapping[str, str] | None = None, *, json: Any = None) -> Any:
        """Return the decoded answer to a POST of form fields, or of a document as JSON."""
        return self._request("POST", path, form=form, document=json)

    def put(self, path: str, form: Mapping[str, str] | None = None, *, json: Any = None) -> Any:
        """Return the decoded answer to a PUT; None for one without content (HTTP 204)."""
        return self._request("PUT", path, form=form, document=json)

    def patch(self, path: str, form: Mapping[str, str] | None = None, *, json: Any = None) -> Any:
        """Return the decoded answer to a PATCH; None for one without content (HTTP 204)."""
        return self._request("PATCH", path, form=form, document=json)

    def delete(self, path: str, params: Mapping[str, Any] | None = None) -> Any:
        """Return the decoded answer to a DELETE; None for one without content (HTTP 204)."""
        return self._request("DELETE", path, params=params)

    def on_services_clock(self, moment: datetime) -> datetime:
        """Turn a moment of this machine's clock into one of the service's, as its last answer
        told the time."""
        return moment + timedelta(seconds=self._http.clock_ahead_seconds())

    def unreadable(self, why: str) -> errors.ConnectorError:
        """Make the error for an answer that came and can't be used; `why` ends its sentence."""
        return self._http.unreadable(self.action, self.repeatable, why)

    def _request(self, method: str, path: str, **content: Any) -> Any:
        self._release(understood=True)  # the handler goes on, so it understood the last answer
        value, release = self._http.request(
            self.action,
            self.repeatable,
            method,
            path,
            most_bytes=self._most_bytes,
            ends=self._ends,
            **content,
        )
        self._held.append(release)
        return value

    def _release(self, understood: bool) -> None:
        while self._held:
            self._held.pop()(understood)


class Connector:
    """A loaded connector. Nothing in it belongs to an environment, so it may be shared freely."""

    def __init__(
        self, manifest: dict[str, Any], actions: dict[str, Action], auth: Auth, settings: Schema
    ) -> None:
        self.manifest = manifest
        self.name: str = manifest["name"]
        self.version: str = manifest["version"]
        self.actions = actions
        self._auth = auth
        self._settings = settings

    def __repr__(self) -> str:
        return f"<Connector {self.name} {self.version}>"

    def action(self, name: str) -> Action:
        """Return an action, or raise UnknownAction with the names there are."""
        if name not in self.actions:
            raise errors.UnknownAction(
                f"{self.manifest['displayName']} has no action '{str(name)[:80]}'. "
                f"Its actions: {', '.join(self.actions)}."
            )
        return self.actions[name]

    def explain(self, code: str | int | None, language: str = "en") -> dict[str, Any] | None:
        """Return what one of the service's codes means, and what to do; None for an unknown one.

        The fields are code, meaning, hint, step (of the set-up, or None) and delivery.
        """
        _check_language(language)
        describe = getattr(self._auth, "describe_code", None)
        described: dict[str, Any] | None = describe(str(code), language) if describe else None
        return described

    @_without_locals
    def connect(
        self,
        settings: Mapping[str, Any] | None,
        *,
        ledger: str | os.PathLike[str] | None = None,
        keep_days: float = 30,
    ) -> Connection:
        """Check the settings of an environment, once, and return a connection; nothing is sent.

        With `ledger`, a file that is made where there is none, `run` takes a key; what did not
        change for `keep_days` is deleted from it. Raise InvalidConfiguration with every fault.
        """
        checked = check(settings, self._settings)
        secret = {entry["name"] for entry in self.manifest["parameters"] if entry["secret"]}
        public = {name: value for name, value in checked.items() if name not in secret}
        credentials = authentication.headers(self.manifest["authentication"], checked)
        hosts = self.manifest.get("hosts", {})
        http = Http(self._auth.connect(public), credentials, hosts)
        book = None
        if ledger is not None:
            from .ledger import Ledger

            book = Ledger(ledger, keep_days)
        return Connection(self, public, http, self._auth, book)

    @_without_locals
    def run(
        self,
        action: str,
        inputs: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Connect, run one action, close."""
        with self.connect(settings) as connection:
            return connection.run(action, inputs)


class Connection:
    """A connector with the settings of one environment. Safe to share between threads."""

    def __init__(
        self,
        connector: Connector,
        settings: dict[str, Any],
        http: Http,
        auth: Auth,
        ledger: Ledger | None = None,
    ) -> None:
        self.connector = connector
        self._globals = {
            entry["name"]: settings[entry["name"]]
            for entry in connector.manifest["parameters"]
            if entry["global"] and entry["name"] in settings
        }
        self._settings = settings
        self._http = http
        self._auth = auth
        self._known = Known()
        self.ledger = ledger

    def __repr__(self) -> str:
        return f"<Connection of {self.connector!r}>"

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the HTTP connections and the ledger, and end the waiting between attempts."""
        self._http.close()
        if self.ledger is not None:
            self.ledger.close()

    @_without_locals
    def run(
        self,
        name: str,
        inputs: Mapping[str, Any] | None = None,
        *,
        since: datetime | None = None,
        key: str | None = None,
        taken: Callable[[str], bool] | None = None,
    ) -> dict[str, Any]:
        """Run an action and return its output, as its output schema describes it.

        A write whose answer is lost is looked up for up to `resolveSeconds`.

        since  an aware datetime: this call may have begun then, and its outcome was lost. It is
               looked up, and made only where `resendAfterSeconds` is set and has passed.
        key    text that names this call in the ledger, for good: a later call with this key gets
               what the first one made, and nothing is done twice.
        taken  tells whether an identifier belongs to another call that the caller knows of.

        Raise ConnectorError: see `errors`.
        """
        action = self.connector.action(name)
        checked = self._checked_input(action, inputs)
        if key is not None:
            return self._run_with_key(action, checked, key, since)
        if since is not None:
            return self._run_since(action, checked, _aware(action, since), claim_of(taken))
        return self._run_once(action, checked, claim_of(taken))

    @_without_locals
    def find(self, name: str, inputs: Mapping[str, Any] | None = None, *, since: datetime) -> Found:
        """Return what a call of a write with this input may have made since a moment.

        `since` is an aware datetime. Nothing is changed. Raise ConnectorError.
        """
        action = self.connector.action(name)
        moment = _aware(action, since)
        return self._look(action, self._checked_input(action, inputs), moment, None)

    @_without_locals
    def stream(self, name: str, inputs: Mapping[str, Any] | None = None) -> Iterator[Any]:
        """Return the items of an action's list one at a time, in constant memory.

        The input is checked at once; each page is fetched when its first item is asked for.
        """
        action = self.connector.action(name)
        if not action.streams:
            raise errors.InvalidInput(f"{name} returns no list to stream; use run.")
        pages = self._pages(action, self._checked_input(action, inputs))
        return itertools.chain.from_iterable(_emptied(pages))

    @_without_locals
    def check(self, to: Sequence[str] = (), language: str = "en") -> list[Finding]:
        """Check the set-up of this environment, and whether the recipients `to` can be reached.

        Nothing is sent, bought or changed. It takes at most 15 s. Raise ConnectorError where the
        service can't be asked at all.
        """
        if isinstance(to, str) or not all(isinstance(number, str) for number in to):
            raise errors.InvalidInput("check: 'to' must be a list of phone numbers, as text.")
        _check_language(language)
        inquiry = Inquiry(lambda: self._call(None), self._globals, self._settings, to, language)
        try:
            return list(self._auth.check(inquiry))
        finally:
            inquiry.end()

    def _run_once(self, action: Action, checked: dict[str, Any], claim: Claim) -> dict[str, Any]:
        """Make the call, and look it up when its outcome is unknown."""
        if action.streams:
            items: list[Any] = []
            for page in self._pages(action, checked):
                items += page
            return {action.streams: items}
        if not action.find:
            return self._called(action, checked)
        same = identity(action.name, checked)
        started = time.monotonic()
        try:
            with self._known.answering(same):
                return self._called(action, checked)
        except errors.OutcomeUnknown as error:
            unknown = error
        seconds = self._settings.get("resolveSeconds", 0)
        if not seconds:
            raise unknown
        # The monotonic clock: somebody may set the other one meanwhile.
        since = datetime.now(timezone.utc) - timedelta(seconds=time.monotonic() - started)
        look = self._looked_up(action, checked, since, seconds, claim)
        if look.output is None:
            raise unresolved(unknown, look)
        return look.output

    def _called(self, action: Action, checked: dict[str, Any]) -> dict[str, Any]:
        with self._call(action) as call:
            output: dict[str, Any] = action.handler.run(checked, call)
            self._check_output(call, action, output)
            if action.find and not self._known.give(output[action.identifier or ""]):
                raise call.unreadable("names something that another call has made")
        return output

    def _run_since(
        self,
        action: Action,
        checked: dict[str, Any],
        since: datetime,
        claim: Claim,
        again: Callable[[], None] | None = None,
    ) -> dict[str, Any]:
        """Look up a call that may have begun at `since`; make it only where that is safe."""
        age = (datetime.now(timezone.utc) - since).total_seconds()
        seconds = self._settings.get("resolveSeconds", 0)
        look = self._looked_up(action, checked, since, min(seconds, seconds - age), claim)
        if look.output is not None:
            return look.output
        resend = self._settings.get("resendAfterSeconds")
        age = (datetime.now(timezone.utc) - since).total_seconds()
        if resend is not None and age >= resend and look.fault is None and not look.candidates:
            if again is not None:
                again()
            log.warning("%s: not found %.0f s after it began; it is made again", action.name, age)
            return self._run_once(action, checked, claim)
        hint = self._http.unknown_hint
        raise unresolved(
            errors.OutcomeUnknown(
                f"{action.name} may have been carried out, and its outcome was lost. {hint}",
                hint=hint,
            ),
            look,
        )

    def _run_with_key(
        self, action: Action, checked: dict[str, Any], key: str, since: datetime | None
    ) -> dict[str, Any]:
        if action.effect != "write" or not action.find:
            raise errors.InvalidInput(f"{action.name} takes no key: {_why_not(action)}.")
        if since is not None:
            raise errors.InvalidInput("give 'key' or 'since': the ledger knows when it began.")
        ledger = self.ledger
        if ledger is None:
            raise errors.InvalidConfiguration("configuration: a key needs a ledger to be kept in.")
        with ledger.alone(key):
            same = ledger.hash(identity(action.name, checked))
            entry = ledger.begin(key, action.name, same, self._http.wait)
            if entry.state == "done":
                return self._read_again(action, entry.identifier)
            state, identifier, candidates = "unknown", None, entry.candidates
            try:
                if entry.state == "free":
                    claim = ledger.claim(key, action.name, same, time.time())
                    output = self._run_once(action, checked, claim)
                else:
                    moment = datetime.fromtimestamp(entry.began, timezone.utc)
                    claim = ledger.claim(key, action.name, same, entry.began)
                    output = self._run_since(
                        action, checked, moment, claim, lambda: ledger.again(key)
                    )
                state, identifier = "done", output[action.identifier or ""]
            except errors.OutcomeUnknown as error:
                candidates = error.candidates
                raise
            except errors.ConnectorError:
                state = "free"
                raise
            finally:
                # After any other exception the row stays as it is, and is looked up later.
                is_ours = ledger.end(key, state, identifier, candidates)
            if not is_ours:
                ledger.end(key, "unknown")
                raise errors.OutcomeUnknown(
                    f"{action.name} may have been carried out: the record that the look-up found "
                    f"belongs to another key. {self._http.unknown_hint}",
                    hint=self._http.unknown_hint,
                )
            return output

    @_without_locals
    def settle(self, key: str, identifier: str) -> dict[str, Any]:
        """Write into the ledger what the call of a key has made, and return it.

        Somebody has found it out by other means.

        Raise InvalidInput for a key that is done or under way, and what reading the record raises.
        """
        if self.ledger is None:
            raise errors.InvalidConfiguration("configuration: a key needs a ledger to be kept in.")
        with self.ledger.alone(key):
            entry = self.ledger.entry(key)
            if entry.state == "done" or self.ledger.is_under_way(key):
                raise errors.InvalidInput("the call of this key is done, or under way.")
            made = self._read(self.connector.action(entry.action), identifier)
            if not self.ledger.end(key, "done", identifier):
                raise errors.InvalidInput("this belongs to another key.")
        return made

    def _read(self, action: Action, identifier: str | None) -> dict[str, Any]:
        reader = self.connector.action(action.read_with or "")
        return self._called(reader, {action.identifier or "": identifier})

    def _read_again(self, action: Action, identifier: str | None) -> dict[str, Any]:
        try:
            return self._read(action, identifier)
        except errors.ConnectorError as error:
            # The error of the reading would say that nothing was done.
            raise errors.OutcomeUnknown(
                f"{action.name} was carried out before with this key and made {identifier}, which "
                f"can't be read now: {error}",
                hint="Ask again with the same key.",
                candidates=(identifier or "",),
            ) from None

    def _looked_up(
        self,
        action: Action,
        checked: dict[str, Any],
        since: datetime,
        seconds: float,
        claim: Claim,
    ) -> Look:
        same = identity(action.name, checked)
        name = action.identifier or ""
        with self._known.looking(same):
            look = look_up(
                lambda ends: self._look(action, checked, since, ends),
                lambda result: self._known.adopt(same, result, name, since, claim),
                lambda result: self._known.candidates(result, claim),
                seconds,
                self._http.wait,
            )
        if look.output is not None:
            log.warning(
                "%s: its answer was lost; it was looked up, and is %s",
                action.name,
                look.output[name],
            )
        return look

    def _look(
        self, action: Action, checked: dict[str, Any], since: datetime, ends: float | None
    ) -> Found:
        with self._call(action, reads=True, ends=ends) as call:
            result = action.handler.find(checked, call, since)
            for output in result.matches:
                self._check_output(call, action, output)
        return result

    @_without_locals
    def preview(self, name: str, inputs: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the first request that an action would make, credentials hidden; send nothing."""
        action = self.connector.action(name)
        checked = self._checked_input(action, inputs)
        try:
            outcome = action.handler.run(checked, self._call(action, _Recorder(self._http)))
            if action.streams:
                next(iter(outcome), None)
        except _Recorded as recorded:
            request = recorded.request
            shown = {
                "method": request.method,
                "url": request.origin + request.target,
                "headers": {**request.headers, **self._http.hidden},
                "form": recorded.form,
            }
            if recorded.document is not None:
                shown["json"] = recorded.document
            return shown
        raise RuntimeError(f"{name} makes no request")

    def _checked_input(self, action: Action, inputs: Mapping[str, Any] | None) -> dict[str, Any]:
        if not isinstance(inputs, Mapping) and inputs is not None:
            raise errors.InvalidInput(f"{action.name} input: it must be an object with fields.")
        checked = merge(inputs or {}, self._globals, action.globals, action.input)
        elsewhere = {
            f"'{name}' is required": f" (as input, or as the global parameter '{name}')"
            for name in action.globals
        }
        problems = [
            problem + elsewhere.get(problem, "") for problem in action.input.problems(checked)
        ]
        if problems:
            raise errors.InvalidInput(
                f"{action.name} input: {'; '.join(problems)}.", problems=problems
            )
        return checked

    def _pages(self, action: Action, checked: dict[str, Any]) -> Iterator[list[Any]]:
        with self._call(action) as call:
            for page in action.handler.run(checked, call):
                self._check_output(call, action, {action.streams: page})
                yield page

    def _check_output(self, call: Call, action: Action, output: Any) -> None:
        if action.output.accepts(output):
            return
        problems = action.output.problems(output)
        why = f"can't be read: {'; '.join(problems[:10])}"
        name = action.identifier
        if name and not any(fault.path in ((), (name,)) for fault in action.output.faults(output)):
            why += f". It names {place((name,))} {output[name]}"
        error = call.unreadable(why)
        error.problems = tuple(problems)
        raise error

    def _call(
        self,
        action: Action | None,
        http: Http | _Recorder | None = None,
        reads: bool = False,
        ends: float | None = None,
    ) -> Call:
        return Call(
            action.name if action else "check",
            action.repeatable or reads if action else True,
            self._globals,
            self._settings,
            http or self._http,
            _MOST_BYTES_OF_A_PAGE if action and action.streams else _MOST_BYTES,
            ends,
        )


def _check_language(language: str) -> None:
    if language not in LANGUAGES:
        raise errors.InvalidInput(f"'language' must be one of {', '.join(LANGUAGES)}.")


def _emptied(pages: Iterator[list[Any]]) -> Iterator[list[Any]]:
    """Give each page, and empty it once the next one is asked for."""
    try:
        for page in pages:
            yield page
            page.clear()  # or this page is still in memory while the next is decoded
        return
    except errors.ConnectorError as error:
        fault = error
    raise _bare(fault)


def _bare(fault: errors.ConnectorError) -> errors.ConnectorError:
    """Remove an error's cause and frames: they hold secrets and numbers."""
    fault.__cause__ = fault.__context__ = None
    return fault.with_traceback(None)


def _why_not(action: Action) -> str:
    """Say why a call of this action can't be looked up."""
    if action.effect == "read":
        return "it changes nothing, so it can be run again"
    return "its handler has no 'find', so nobody can tell what a lost call made"


def _aware(action: Action, since: Any) -> datetime:
    if not action.find:
        raise errors.InvalidInput(f"{action.name} takes no 'since': {_why_not(action)}.")
    if not isinstance(since, datetime) or since.tzinfo is None:
        raise errors.InvalidInput("'since' must be a datetime with a time zone.")
    return since.astimezone(timezone.utc)


class _Recorded(BaseException):
    """Ends the handler of a preview and holds its request; no `except Exception` catches it."""

    def __init__(self, request: Request, form: Any, document: Any) -> None:
        self.request = request
        self.form = form
        self.document = document


class _Recorder:
    """Takes the place of Http, and records the first request instead of making it."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def request(
        self,
        action: str,
        repeatable: bool,
        method: str,
        path: str,
        params: Mapping[str, Any] | None = None,
        form: Mapping[str, str] | None = None,
        document: Any = None,
        most_bytes: int = 0,
        host: str | None = None,
        ends: float | None = None,
    ) -> NoReturn:
        request = self._http.prepare(method, path, params, form, document, host)
        raise _Recorded(request, form, document)

    def clock_ahead_seconds(self) -> float:
        return 0.0

    def unreadable(
        self, action: str, repeatable: bool, why: str, **details: Any
    ) -> errors.ConnectorError:
        return self._http.unreadable(action, repeatable, why, **details)
