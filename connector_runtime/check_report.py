"""Shows people what a check found, and what a code means."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .checking import FAILS, HOLDS, UNKNOWN, Finding

_VERDICTS = {
    "en": {HOLDS: "ok", FAILS: "FAIL", UNKNOWN: "?"},
    "es": {HOLDS: "bien", FAILS: "FALLA", UNKNOWN: "?"},
}
_SUMMARIES = {
    "en": {
        HOLDS: "Everything is right.",
        FAILS: "Failing: {fails} of {all}. Not known: {unknown}.",
        UNKNOWN: "Nothing fails. Not known: {unknown} of {all}.",
    },
    "es": {
        HOLDS: "Todo está bien.",
        FAILS: "Fallan: {fails} de {all}. No se puede saber: {unknown}.",
        UNKNOWN: "Nada falla. No se puede saber: {unknown} de {all}.",
    },
}
_STEPS = {"en": "Step {step} of the set-up.", "es": "Paso {step} de la configuración."}


def lines(findings: Sequence[Finding], language: str) -> Iterator[str]:
    """Give one line for each finding, one more for each remedy, and a summary.

    A number before the title is the step of the set-up.
    """
    words = _VERDICTS[language]
    width = max(map(len, words.values()))
    for finding in findings:
        step = "-" if finding.step is None else finding.step
        word = words[finding.verdict]
        yield f"{word:<{width}}  {step}  {finding.title}: {finding.detail}"
        if finding.remedy:
            yield f"{'':<{width}}     {finding.remedy}"
    count = {verdict: sum(f.verdict == verdict for f in findings) for verdict in words}
    decisive = next((verdict for verdict in (FAILS, UNKNOWN) if count[verdict]), HOLDS)
    yield ""
    yield _SUMMARIES[language][decisive].format(**count, all=len(findings))


def explanation(described: Mapping[str, Any], language: str) -> Iterator[str]:
    """Give the lines that say what a code means and what to do."""
    words = _STEPS[language]
    yield f"{described['code']}: {described['meaning']}."
    yield f"  {described['hint']}"
    if described["step"] is not None:
        yield f"  {words.format(step=described['step'])}"
