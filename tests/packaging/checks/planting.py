"""Tools to plant faults in a copy of the tree, and the test that each of them is found."""

import re
import struct
import zlib

from connector_build import checks, findings, package
from tests.conftest import ROOT
from tests.packaging.conftest import edit_json, edit_text, put

# Those about the Bizagi package and the listing have their faults in test_bizc and test_listing.
ELSEWHERE = {"text-missing", "text-form", "text-stale"}
ELSEWHERE |= {rule for rule in findings.RULES if rule.startswith("bizc-")}
RULES = {rule: tier for rule, tier in findings.RULES.items() if rule not in ELSEWHERE}
LOOK_UP = "schemas/get_sms_information.input.json"
LISTED = "schemas/get_all_sms.output.json"
SENT = "schemas/send_sms.output.json"
MESSAGE = "properties.messages.items"
PLANTED = "auth/planted.py"
HEX = "0123456789abcdef"
REQUESTS = next(line for line in package.requirements(ROOT) if line.startswith("requests"))
NAME_FIELD = {"type": "string", "description": "Planted.", "examples": ["a"]}
SAYS_WHAT_TO_DO = re.compile(
    r"(^|: |, or |, and | or )(add|call|correct|declare|do|end|export|give|keep|leave|make|move"
    r"|rename|save|say|shorten|take|use|write)\b|\b(must|needs|will do)\b"
)


def write(name, content):
    def plant(tree):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes(content.encode() if isinstance(content, str) else content)

    return plant


def append(name, content):
    return lambda tree: (tree / name).write_bytes((tree / name).read_bytes() + content)


def remove(name):
    return lambda tree: (tree / name).unlink()


def move(name, target):
    return lambda tree: (tree / name).rename(tree / target)


def replace(name, old, new):
    return lambda tree: edit_text(tree / name, old, new)


def edit(name, change):
    return lambda tree: edit_json(tree / name, change)


def manifest(place, *value):
    return edit("connector.json", lambda document: put(document, place, *value))


def schema(name, place, *value):
    return edit(name, lambda document: put(document, place, *value))


def code(text):
    """A module in the package whose second line is the text."""
    return write(PLANTED, f'"""Planted."""\n{text}\n')


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, size=0, *more, rows=None, interlaced=0):
    """A black picture of so many bytes at least, with more chunks before its end."""
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, interlaced)
    picture = bytes((1 + -(-width // 8)) * (height if rows is None else rows))
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(more)
    start += chunk(b"IDAT", zlib.compress(picture))
    rest = size - len(start) - 12
    return start + (chunk(b"fiLl", bytes(rest - 12)) if rest > 12 else b"") + chunk(b"IEND", b"")


def svg(inner="", viewbox="0 0 128 128", attributes=""):
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{viewbox}" {attributes}>{inner}</svg>'


def find(tree, case, fault):
    """Plant a fault and hold the check to it: this finding, in this place, and no other."""
    rule = case.partition(":")[0]
    file, place, *plants = fault
    for plant in plants:
        plant(tree)
    findings = own(checks.check(tree))
    assert [finding[:4] for finding in findings] == [(RULES[rule], rule, file, place)]
    assert SAYS_WHAT_TO_DO.search(findings[0].message), findings[0].message
    assert not findings[0].message.endswith(".")


def own(findings):
    """Leave out what follows from a change: the listing's texts and the .bizc need it too."""
    return [finding for finding in findings if finding.rule not in ELSEWHERE]


def rules(findings):
    return [(finding.rule, finding.file) for finding in findings]
