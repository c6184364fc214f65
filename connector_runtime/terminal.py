"""Writes the command line's output: safe for a terminal, in any encoding, errors reported."""

from __future__ import annotations

import errno
import io
import os
import re
import sys
from collections.abc import Iterable, Mapping
from typing import Any, TextIO

# Control characters but tab and line break, line separators, and marks that turn the direction of
# text around: each can make a terminal show a false text.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
# Values that must not be broken over two lines: identifiers, numbers, states.
_WORD = re.compile(r"[\w.+:-]{1,40}")


class Unwritable(Exception):
    """The output can't be written; the text says why."""


def prepare() -> None:
    """Let this process write every character, as an escape where its encoding lacks it."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def visible(text: str) -> str:
    """Return the text with what is unsafe on a terminal written as escapes such as \\x1b."""
    return _UNSAFE.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), text)


def line(text: str) -> None:
    """Write a line on standard output. Raise Unwritable."""
    _write(visible(text) + "\n")


def json_line(value: Any, indent: int | None = None) -> None:
    """Write a value as JSON; what is unsafe on a terminal is escaped as JSON does."""
    import json

    encoding = (_output().encoding or "").lower()
    text = json.dumps(value, ensure_ascii=not encoding.startswith("utf"), indent=indent)
    _write(_UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text) + "\n")


def table(rows: Iterable[Mapping[str, Any]], columns: Iterable[str]) -> None:
    """Write rows as a table, no identifier broken over lines. Raise Unwritable."""
    # Imported here: most calls show no table, and it takes as long to import as a send takes.
    from rich.console import Console
    from rich.table import Table

    columns = list(columns)
    texts = [[_cell(row.get(column)) for column in columns] for row in rows]
    shown = Table()
    least = 1
    for place, column in enumerate(columns):
        values = [column, *(cells[place] for cells in texts)]
        words = [value for value in values if not value or _WORD.fullmatch(value)]
        width = max(map(len, words), default=1)
        shown.add_column(column, overflow="fold", min_width=width, no_wrap=words == values)
        least += width + 3  # a border, and a space on either side
    for cells in texts:
        shown.add_row(*cells)
    output = _output()
    try:
        console = Console(file=output, markup=False, highlight=False, emoji=False)
        if console.width < least:
            console.width = least
        console.print(shown)
        output.flush()
    except OSError as error:
        raise Unwritable(error.strerror or type(error).__name__) from error


def _cell(value: Any) -> str:
    return "" if value is None else visible(str(value))


def error(text: str) -> None:
    """Write a line on standard error, if there is one."""
    if sys.stderr is not None:
        try:
            sys.stderr.write(visible(text) + "\n")
            sys.stderr.flush()
        except (OSError, ValueError):
            abandon()  # nothing can be said to anybody; the exit status remains


def abandon() -> None:
    """Drop what could not be written, or Python would try again and end with a status of its own.

    https://docs.python.org/3/library/signal.html#note-on-sigpipe
    """
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):  # it is None, full or closed
            _replace(stream, nowhere)
    os.close(nowhere)


def _replace(stream: TextIO | None, descriptor: int) -> None:
    if stream is not None and not stream.closed:
        os.dup2(descriptor, stream.fileno())


def _output() -> TextIO:
    if sys.stdout is None or sys.stdout.closed:
        raise Unwritable(os.strerror(errno.EBADF))
    return sys.stdout


def _write(text: str) -> None:
    output = _output()
    try:
        output.write(text)
        output.flush()
    except OSError as error:
        raise Unwritable(error.strerror or type(error).__name__) from error
