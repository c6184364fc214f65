"""This runtime's version, and whether it is one that a connector can use."""

from __future__ import annotations

import operator
import re

# Major: a connector or an engine made for the last one may break. The connector's own version is
# in its connector.json.
VERSION = "1.0.0"
_COMPARISONS = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}
_CONDITION = re.compile(r"\s*(>=|<=|==|!=|>|<)\s*([0-9]{1,9}(?:\.[0-9]{1,9}){0,2})\s*")


def satisfies(wanted: str, version: str = VERSION) -> bool:
    """Tell whether a version is in a range such as ">=1.0,<2".

    The range is conditions with commas between them, each a comparison and one to three numbers.
    What is missing of three numbers counts as 0. Raise ValueError for any other text.
    """
    conditions = [_CONDITION.fullmatch(part) for part in wanted.split(",")]
    if not all(conditions):
        raise ValueError("it must be conditions such as >=1.0,<2")
    have = _numbers(version)
    return all(
        _COMPARISONS[condition[1]](have, _numbers(condition[2]))
        for condition in conditions
        if condition
    )


def _numbers(version: str) -> tuple[int, ...]:
    numbers = [int(number) for number in version.split(".")]
    return tuple(numbers + [0] * (3 - len(numbers)))
