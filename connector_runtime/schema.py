"""JSON Schema validation behind one interface, and its findings in words.

jsonschema-rs validates where it is installed; jsonschema is the reference and the fallback. The
messages of both are not shown: they repeat the rejected value, which may be a secret, a number or a
message body.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, NoReturn

Path = tuple[str | int, ...]
_TYPES = {
    "string": "text",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "object": "an object",
    "array": "a list",
    "null": "null",
}
_DEEPEST = 64
_SURROGATE = re.compile("[\ud800-\udfff]")
_VALUES = frozenset({"const", "enum", "default", "examples"})  # hold values, not schemas
_TOO_LARGE = 2**1024  # most programs read numbers as floats, where this is infinite
_DIALECT = "https://json-schema.org/draft/2020-12/schema"


class Engine(NamedTuple):
    """One validator: `accepts` is the quick verdict, `faults` gives instance and schema paths."""

    accepts: Callable[[Any], bool]
    faults: Callable[[Any], Iterable[tuple[Path, Path]]]


def fast_engine(document: dict[str, Any]) -> Engine:
    """Validate with jsonschema-rs; raise ImportError without it, ValueError for a bad schema."""
    import jsonschema_rs

    # Its default retriever would fetch http addresses and read files.
    validator = jsonschema_rs.Draft202012Validator(document, retriever=_no_retriever)
    counted = _counted(document)
    quick = validator
    if counted != document:  # a second compilation makes each load slower
        quick = jsonschema_rs.Draft202012Validator(counted, retriever=_no_retriever)

    def accepts(value: Any) -> bool:
        try:
            return quick.is_valid(value)
        except ValueError:  # not JSON; `Schema.faults` says where
            return False

    def faults(value: Any) -> Iterator[tuple[Path, Path]]:
        for error in validator.iter_errors(value):
            yield tuple(error.instance_path), tuple(error.schema_path)

    return Engine(accepts, faults)


def _counted(part: Any) -> Any:
    """Return the same schema, but count the properties of an object that requires all of them.

    To look for each required name takes a third of the time of a list's validation.
    """
    if isinstance(part, list):
        return [_counted(item) for item in part]
    if not isinstance(part, dict):
        return part
    part = {
        keyword: value if keyword in _VALUES else _counted(value) for keyword, value in part.items()
    }
    names, required = part.get("properties"), part.get("required")
    if (
        part.get("additionalProperties") is False
        and isinstance(names, dict)
        and isinstance(required, list)
        and set(required) == set(names)
        and not part.keys() & {"patternProperties", "minProperties"}
    ):
        del part["required"]
        part["minProperties"] = len(names)
    return part


def _no_retriever(uri: str) -> NoReturn:
    raise LookupError(uri)


def reference_engine(document: dict[str, Any]) -> Engine:
    """Validate with jsonschema; raise ValueError for a bad schema."""
    import jsonschema
    import referencing

    try:
        jsonschema.Draft202012Validator.check_schema(document)
    except jsonschema.SchemaError as error:
        raise ValueError(error.message) from error
    except (RecursionError, OverflowError) as error:  # `re` raises them for such a pattern
        raise ValueError(f"a pattern is too deep or too large ({error})") from error
    # By default, it fetches what a reference names.
    validator = jsonschema.Draft202012Validator(document, registry=referencing.Registry())

    def accepts(value: Any) -> bool:
        return not any(True for _ in _not_json(value)) and validator.is_valid(value)

    def faults(value: Any) -> Iterator[tuple[Path, Path]]:
        for error in validator.iter_errors(value):
            yield tuple(error.absolute_path), tuple(error.absolute_schema_path)

    return Engine(accepts, faults)


def _default_engine(document: dict[str, Any]) -> Engine:
    try:
        return fast_engine(document)
    except ImportError:
        return reference_engine(document)


def _check_alone(document: dict[str, Any]) -> None:
    """Raise ValueError for a schema that names what is outside it, or that no JSON text holds.

    Only text is a keyword's value here: a property of one of these names has a schema instead.
    """
    level: list[Any] = [document]
    for _ in range(_DEEPEST):
        for part in level:
            if isinstance(part, dict):
                _check_keywords(part)
        nested = [part for part in level if isinstance(part, dict | list)]
        level = [
            item for part in nested for item in (part.values() if isinstance(part, dict) else part)
        ]
        if not level:
            break
    else:
        raise ValueError("it is nested too deeply")
    # Raises ValueError for numbers that are not finite, and for lone surrogates.
    json.dumps(document, allow_nan=False, ensure_ascii=False).encode("utf-8")


def _check_keywords(part: dict[str, Any]) -> None:
    for keyword in ("$ref", "$dynamicRef"):
        if isinstance(part.get(keyword), str) and not part[keyword].startswith("#"):
            raise ValueError(f"'{keyword}' must begin with '#': it must not name another file")
    if isinstance(part.get("$id"), str):
        raise ValueError("'$id' is not allowed: it changes what references mean")
    if isinstance(part.get("$schema"), str) and part["$schema"] != _DIALECT:
        raise ValueError(f"'$schema' must be {_DIALECT}")


class Schema:
    """A compiled JSON Schema (2020-12). Raise ValueError when the schema itself is wrong.

    It must not refer to anything outside: nothing is ever fetched or read.
    """

    def __init__(
        self,
        document: dict[str, Any],
        engine: Callable[[dict[str, Any]], Engine] = _default_engine,
    ) -> None:
        _check_alone(document)
        self.document = document
        self._engine = engine(document)

    def accepts(self, value: Any) -> bool:
        """Give the quick verdict on a value that was decoded from JSON text."""
        return self._engine.accepts(value)

    def problems(self, value: Any) -> list[str]:
        """Return every fault of any `value`, as sentences without full stop or value."""
        return [_words(*fault) for fault in self.faults(value)]

    def faults(self, value: Any) -> list[Fault]:
        """Return every fault of `value` as data: path, keyword, subschema and the value there."""
        value = plain(value)
        faults = list(_not_json(value))
        if not faults and self._engine.accepts(value):
            return []
        if not faults:
            for path, schema_path in self._engine.faults(value):
                subschema = _follow(self.document, schema_path[:-1])
                faults += _expand(path, str(schema_path[-1]), subschema, _follow(value, path))
        order = {name: place for place, name in enumerate(self.document.get("properties", ()))}

        def rank(fault: Fault) -> tuple[int, list[str], str]:
            steps = [f"{step:09}" if isinstance(step, int) else step for step in fault.path]
            return order.get(steps[0], len(order)) if steps else -1, steps, fault.keyword

        return sorted({(f.path, f.keyword): f for f in faults}.values(), key=rank)


class Fault(NamedTuple):
    path: Path
    keyword: str
    subschema: dict[str, Any]
    value: Any


def _expand(path: Path, keyword: str, subschema: Any, value: Any) -> Iterator[Fault]:
    """Make one fault of each missing or unknown name: some validators put them together."""
    if keyword == "required":
        for name in subschema["required"]:
            if name not in value:
                yield Fault((*path, name), keyword, subschema, None)
    elif keyword == "additionalProperties":
        for name in value:
            if name not in subschema.get("properties", {}):
                yield Fault((*path, name), keyword, subschema, None)
    else:
        yield Fault(path, keyword, subschema if isinstance(subschema, dict) else {}, value)


def _follow(value: Any, path: Sequence[str | int]) -> Any:
    for step in path:
        value = value[step]
    return value


def plain(value: Any, depth: int = _DEEPEST + 1) -> Any:
    """Return a value that only derives from JSON's types, as a template's text does, as plain JSON.

    Each validator and encoder treats such values in its own way. Any other value stays as it
    is, and validation refuses it.
    """
    if value is None or type(value) in (str, int, float, bool):
        return value
    # Call the types' own methods: a subclass may return something else than its value.
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, float):
        return float.__float__(value)
    if depth and isinstance(value, dict):
        return {plain(name): plain(item, depth - 1) for name, item in value.items()}
    if depth and isinstance(value, list):
        return [plain(item, depth - 1) for item in value]
    return value


def _not_json(value: Any, path: Path = ()) -> Iterator[Fault]:
    """Find what no JSON text can hold: some validators accept it, some refuse it, some crash."""
    if value is None or isinstance(value, bool):
        return
    if isinstance(value, int):
        if not -_TOO_LARGE < value < _TOO_LARGE:
            yield Fault(path, "finite", {}, None)
    elif isinstance(value, str):
        if not value.isascii() and _SURROGATE.search(value):
            yield Fault(path, "surrogate", {}, None)
    elif isinstance(value, float):
        if not math.isfinite(value):
            yield Fault(path, "finite", {}, None)
    elif len(path) > _DEEPEST:
        yield Fault(path, "depth", {}, None)
    elif isinstance(value, dict):
        for name, item in value.items():
            if isinstance(name, str):
                yield from _not_json(name, (*path, "(name)"))
                yield from _not_json(item, (*path, name))
            else:
                yield Fault((*path, "(name)"), "type", {"type": "string"}, None)
    elif isinstance(value, list):
        for place, item in enumerate(value):
            yield from _not_json(item, (*path, place))
    else:
        yield Fault(path, "json", {}, None)


def _words(path: Path, keyword: str, subschema: dict[str, Any], value: Any) -> str:
    name = place(path)
    if keyword == "required":
        return f"{name} is required"
    if keyword == "additionalProperties":
        import difflib  # imported late: only a wrong name needs it

        near = difflib.get_close_matches(str(path[-1]), subschema.get("properties", {}), 1)
        return f"{name} is not known" + (f" (did you mean '{near[0]}'?)" if near else "")
    if keyword == "surrogate":
        return f"{name} contains half a character (a lone surrogate), which is not valid in text"
    if keyword == "finite":
        return f"{name} must be a finite number"
    if keyword == "depth":
        return f"{name} is nested too deeply"
    if keyword == "json":
        return f"{name} must be text, a number, true, false, null, a list or an object"
    if keyword == "type":
        kinds = subschema["type"] if isinstance(subschema["type"], list) else [subschema["type"]]
        quotes = ": put it in quotes" if kinds == ["string"] and _bare(value) else ""
        return f"{name} must be {' or '.join(_TYPES[kind] for kind in kinds)}{quotes}"
    if "x-mustBe" in subschema:
        return f"{name} must be {subschema['x-mustBe']}"
    if keyword in ("enum", "const"):
        allowed = subschema[keyword] if keyword == "enum" else [subschema[keyword]]
        return f"{name} must be {' or '.join(map(repr, allowed))}"
    return f"{name} breaks the rule '{keyword}': {subschema.get(keyword)}"


def _bare(value: Any) -> bool:
    return isinstance(value, int | float)


def place(path: Path) -> str:
    """Write a path as users read it: ('messages', 3, 'price') is 'messages[3].price'."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return f"'{text.removeprefix('.')[:80]}'" if path else "it"
