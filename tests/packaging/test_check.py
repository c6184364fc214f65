"""Each rule of the check has faults planted for it: they must be found, and nothing besides."""

import json
import re
import struct
import sys
import zlib

import pytest

from connector_build import check, findings, icons
from connector_build.findings import Finding
from connector_runtime import archive
from connector_runtime.schema import Schema
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
SAYS_WHAT_TO_DO = re.compile(
    r"(^|: |, or |, and | or )(add|call|correct|declare|do|end|export|give|keep|leave|make|mend"
    r"|move|rename|save|say|settle|shorten|take|use|write)\b|\b(must|needs|will do)\b"
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


# Built here, of parts: this file must not hold what the check, and others like it, look for.
CREDENTIALS = {
    "account SID": "AC" + HEX * 2,
    "message SID": "SM" + HEX * 2,
    "API key": "SK" + HEX[::-1] * 2,
    "auth token": HEX * 2,
    "auth token in quotes": '"' + HEX[::-1] * 2 + '"',
    "private key": "-----BEGIN " + "PRIVATE KEY-----",
    "private key of a kind": "-----BEGIN " + "RSA PRIVATE KEY-----",
    "Basic header": "Authorization: Basic " + "QWxhZGRpbjpvcGVu" + "c2VzYW1lMTIz",
    "Bearer header": "Authorization: Bearer " + HEX + "-._" + HEX,
    "URL with a password": "https://somebody:" + "hidden" + "@example.com/",
    "access key": "AK" + "IA" + "ABCDEFGHIJKLMNOP",
    "GitHub token": "gh" + "p_" + HEX,
    "Slack token": "xo" + "xb-" + HEX,
    "payment key": "sk_" + "live_" + HEX,
    "account SID in capitals": "AC" + HEX.upper() * 2,
    "account SID in both cases": "AC" + HEX.upper() + HEX,
    "account SID behind an underscore": "my_AC" + HEX * 2,
    "SID of another kind": "US" + HEX * 2,
    "auth token in capitals": HEX.upper() * 2,
    "auth token behind an underscore": "token_" + HEX * 2 + "_old",
    "signed token": "ey" + "JhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.SflKxwRJSMeKKF2QT4f",
    "mail key": "S" + "G.ngeVfQFYQlKU0ufo8x5d1A.TwL2iGABf9DHoTf-09kqeF8tAmbihYzrnopKc",
    "GitHub token of another kind": "github_" + "pat_11ABCDEFG0abcdefgh",
    "GitHub server token": "gh" + "s_" + HEX,
    "GitHub refresh token": "gh" + "r_" + HEX,
    "GitHub user token": "gh" + "u_" + HEX,
    "Google key": "AI" + "zaSyD-1234567890abcdefghijklmnopq",
    "database URL with a password": "postgres" + "://somebody:hidden@db/x",
    "URL with a password alone": "redis" + "://:hidden@db/0",
    "bearer header in small letters": "authorization: bearer " + HEX + "-" + HEX,
    "basic header in small letters": "authorization: basic " + "QWxhZGRpbjpvcGVu" + "c2VzYW1lMTIz",
}
LEFTOVERS = {
    "note": "TO" + "DO: later",
    "other note": "FIX" + "ME",
    "third note": "X" * 3,
    "note in small letters": "to" + "do: later",
    "note with a space": "To" + "do : later",
    "other note in small letters": "fix" + "me: later",
    "name to fill in": "YOUR" + "_ACCOUNT_SID",
    "token to fill in": "your-" + "token-here",
    "token to fill in, with underscores": "Your_" + "auth_token_here",
    "filler": "Lorem " + "ipsum dolor",
    "word to change": "change" + "me",
    "word to change with a hyphen": "Change" + "-Me",
    "word to replace": "replace" + "_me",
    "gap to fill": "<your" + "-account>",
    "other gap to fill": "<insert" + "_name>",
    "home folder": "/".join(("", "home", "somebody")),
    "home folder on a Mac": "/".join(("", "Users", "somebody")),
    "temporary folder": '"' + "/".join(("", "tmp", "somebody")) + '"',
    "deeper temporary folder": "/".join(("", "var", "folders", "zz")),
    "temporary folder on a Mac": "/".join(("", "private", "tmp", "x")),
    "folder of a project on Windows": "\\".join(("D:", "projects", "x")),
    "folder of a project on Windows, escaped": "\\\\".join(("D:", "projects", "x")),
    "home folder on Windows": "\\".join(("C:", "Users", "somebody")),
    "home folder on Windows, escaped": "\\\\".join(("C:", "Users", "somebody")),
    "home folder on Windows, with slashes": "/".join(("C:", "Users", "somebody")),
}
NUMBERS = {
    "in Germany": "+49" + "301234567",
    "in the United States": "+1" + "4155552671",
    "one more than the reserved": "+1" + "4155550200",
    "behind whatsapp": "whatsapp:+44" + "7911123456",
}
BAD_IMPORTS = {
    "not declared": "import pandas",
    "second of two": "import json, pandas",
    "of a submodule": "import pandas.io.sql as sql",
    "from a module": "from pandas.io import sql",
    "of the package by its bare name": "from actions import send_sms",
    "of what is not packaged": "from connector_build import check",
    "of an extra": "import aiohttp",
    "that leaves the package": "from .. import auth",
    "that leaves the package by name": "from ...elsewhere.deep import thing",
    "in a function": "def f(): import pandas",
    "guarded, but in no extra": "try: import pandas\nexcept ImportError: pandas = None",
    "guarded against something else": "try: import aiohttp\nexcept OSError: pass",
    "guarded against everything": "try: import aiohttp\nexcept: pass",
    "where another is not there": "try: x = 1\nexcept ImportError: import aiohttp",
    "of no module beside it": "from .nothing import x",
    "of nothing in its own folder": "from . import nothing",
    "of no module of the runtime": "import connector_runtime.nothing",
    "from no module of the runtime": "from connector_runtime.nothing import x",
    "of nothing in the runtime": "from connector_runtime import nothing",
    "by a call": '__import__("pandas")',
    "by a call of importlib": 'import importlib; importlib.import_module("pandas.io")',
    "by a call with a keyword": 'from importlib import import_module; import_module(name="pandas")',
    "by a call, of no module beside it": (
        'import importlib; importlib.import_module(".nothing", __package__)'
    ),
    "by a call, of an extra": '__import__("aiohttp")',
    "guarded against others": "try: import aiohttp\nexcept (OSError, ValueError): pass",
    "after a guarded one": "try: x = 1\nexcept ImportError: pass\nfinally: import aiohttp",
}
BAD_IMPORT_LINES = {"where another is not there": 3, "after a guarded one": 4}
SECRET_NAMES = ("apiToken", "clientSecret", "password", "passphrase", "privateKey", "access_key")
SECRET_NAMES += ("pwd", "passcode", "pin", "userPin", "PIN", "pass", "db_pass", "bearer", "jwt")
SECRET_NAMES += ("authKey", "signingKey", "encryption_key", "masterKey")
NAME_FIELD = {"type": "string", "description": "Planted.", "examples": ["a"]}
ICON_BYTES = 64 * 1024

# "rule: what is wrong": the file and the place that the finding must name, and how to plant it.
FAULTS = {
    "file-missing: connector.json": ("connector.json", "", remove("connector.json")),
    "file-missing: icon.png": ("icon.png", "", remove("icon.png")),
    "file-missing: LICENSE": ("LICENSE", "", remove("LICENSE")),
    "file-missing: pyproject.toml": ("pyproject.toml", "", remove("pyproject.toml")),
    "file-stray: no code": ("actions/notes.txt", "", write("actions/notes.txt", "")),
    "file-stray: too deep": ("auth/more/x.py", "", write("auth/more/x.py", "")),
    "file-name: upper case": ("auth/Planted.py", "", write("auth/Planted.py", "")),
    "file-name: dot": ("auth/planted.en.json", "", write("auth/planted.en.json", "{}")),
    "text-encoding: README": ("README.md", "", append("README.md", b"caf\xe9\n")),
    "text-encoding: JSON": ("auth/x.json", "", write("auth/x.json", b'{"x": "caf\xe9"}')),
    "text-encoding: Python that says so": (
        PLANTED, "", write(PLANTED, b"# coding: latin-1\nx = 'caf\xe9'\n"),
    ),
    "size: one file": (
        "auth/x.json", "", write("auth/x.json", b"[]".ljust(archive.MOST_BYTES_OF_A_MEMBER + 1)),
    ),
    "size: too many files": (
        "(package)", "",
        lambda tree: [write(f"auth/x{n}.json", "{}")(tree) for n in range(archive.MOST_MEMBERS)],
    ),
    "json: not at all": ("auth/hints.json", "", write("auth/hints.json", "{")),
    "json: empty": ("auth/hints.json", "", write("auth/hints.json", "")),
    "json: connector.json": ("connector.json", "", append("connector.json", b"}")),
    "json: byte order mark": ("auth/x.json", "", write("auth/x.json", b"\xef\xbb\xbf{}")),
    "json: NaN": ("auth/x.json", "", write("auth/x.json", '{"x": [NaN]}')),
    "json: infinity": ("auth/x.json", "", write("auth/x.json", '{"x": -Infinity}')),
    "json: half a character": (
        "schemas/send_sms.input.json", "title",
        replace("schemas/send_sms.input.json", '"title": "', r'"title": "\ud800'),
    ),
    "json: half a character in a name": (
        "auth/hints.json", "(name)", write("auth/hints.json", r'{"\ud800": 1}'),
    ),
    "json: number beyond all bounds": ("auth/x.json", "[0]", write("auth/x.json", "[1e999]")),
    "json: nested 400 deep": (
        LOOK_UP, "not." * 19 + "not.",
        replace(LOOK_UP, '"title"', '"not": ' + '{"not":' * 400 + "{}" + "}" * 400 + ', "title"'),
    ),
    "json: nested 20000 deep": ("auth/x.json", "", write("auth/x.json", "[" * 20_000)),
    "json: nested too deeply": ("auth/x.json", "", write("auth/x.json", "[" * 100_000)),
    "json-duplicate-key: at the top": ("auth/x.json", "a", write("auth/x.json", '{"a":1,"a":1}')),
    "json-duplicate-key: below": (
        "auth/x.json", "b", write("auth/x.json", '{"a": [{"b": 1, "c": 2, "b": 3, "b": 4}]}'),
    ),
    "manifest: unknown key": ("connector.json", "licence", manifest("licence", "MIT")),
    "manifest: missing key": ("connector.json", "guid", manifest("guid")),
    "manifest: wrong type": (
        "connector.json", "parameters[0].required", manifest("parameters.0.required", "no")),
    "manifest: wrong version": ("connector.json", "version", manifest("version", "1.0")),
    "manifest: empty": ("connector.json", "author", manifest("author", "")),
    "manifest: empty list": ("connector.json", "categories", manifest("categories", [])),
    "manifest: other choice": (
        "connector.json", "actions[0].effect", manifest("actions.0.effect", "send"),
    ),
    "manifest: twice in a list": (
        "connector.json", "categories", manifest("categories", ["SMS", "SMS"]),
    ),
    "manifest: a list": ("connector.json", "", write("connector.json", "[1]")),
    "manifest-schema-copy: differs": (
        "schemas/manifest.json", "", append("schemas/manifest.json", b"\n"),
    ),
    "manifest-schema-copy: missing": (
        "schemas/manifest.json", "", remove("schemas/manifest.json"),
    ),
    "name-twice: parameter and option": (
        "connector.json", "from", manifest("options.1.name", "from"),
    ),
    "name-twice: actions": (
        "connector.json", "send_sms",
        edit("connector.json", lambda found: found["actions"].append(found["actions"][0])),
    ),
    "global-unknown: no parameter": (
        "connector.json", "actions[1].globals", manifest("actions.1.globals", ["sender"]),
    ),
    "global-unknown: not global": (
        "connector.json", "actions[0].globals", manifest("actions.0.globals", ["accountId"]),
    ),
    "global-unknown: an option": (
        "connector.json", "actions[0].globals", manifest("actions.0.globals", ["timeoutSeconds"]),
    ),
    "global-input: no such input": (
        "connector.json", "actions[1].globals", manifest("actions.1.globals", ["from"]),
    ),
    "global-input: other pattern": (
        "schemas/send_sms.input.json", "from",
        schema("schemas/send_sms.input.json", "properties.from.pattern", r"^.+$(?!\n)"),
    ),
    "global-input: other bound": (
        "schemas/send_sms.input.json", "from",
        schema("schemas/send_sms.input.json", "properties.from.minimum", 1),
    ),
    **{
        f"global-input: other {facet}": (
            "schemas/send_sms.input.json", "from",
            schema("schemas/send_sms.input.json", f"properties.from.{facet}", value),
            schema("schemas/send_sms.input.json", "properties.from.examples", ["+15005550006"]),
            schema("schemas/send_sms.input.json", "examples", []),
        )
        for facet, value in {
            "minLength": 2, "maxLength": 12, "enum": ["+15005550006"], "const": "+15005550006",
            "format": "phone",
        }.items()
    },
    "handler-missing: action": ("actions/send_sms.py", "", remove("actions/send_sms.py")),
    "handler-missing: auth": ("auth/__init__.py", "", remove("auth/__init__.py")),
    "handler-missing: other auth": ("login/__init__.py", "", manifest("auth", "login")),
    "handler-undeclared: module": ("actions/call.py", "", write("actions/call.py", "")),
    "handler-undeclared: in a folder of its own": (
        "actions/more/call.py", "", write("actions/more/call.py", ""),
    ),
    "handler-name: other than the action's": (
        "actions/text.py", "",
        move("actions/send_sms.py", "actions/text.py"),
        manifest("actions.0.handler", "actions/text.py"),
    ),
    "handler-run: other name": (
        "actions/send_sms.py", "run", replace("actions/send_sms.py", "def run(", "def send("),
    ),
    "handler-run: a coroutine": (
        "actions/send_sms.py", "run", replace("actions/send_sms.py", "def run(", "async def run("),
    ),
    "handler-run: auth without connect": (
        "auth/__init__.py", "connect", replace("auth/__init__.py", "def connect(", "def join("),
    ),
    "handler-run: auth without check": (
        "auth/__init__.py", "check", replace("auth/__init__.py", "def check(", "def probe("),
    ),
    "handler-syntax: handler": (
        "actions/send_sms.py", "line 2", write("actions/send_sms.py", "x = 1\ndef run(:\n"),
    ),
    "handler-syntax: helper": (PLANTED, "line 2", code("x ="),),
    "handler-syntax: null character": (PLANTED, "line 1", write(PLANTED, b"\0")),
    **({  # Python 3.10 still reads such a sum
        "handler-syntax: sum of thousands": (PLANTED, "line 1", code("x = " + "+1" * 50_000)),
    } if sys.version_info >= (3, 11) else {}),
    "handler-syntax: minus upon minus": (PLANTED, "line 1", code("x = " + "-" * 50_000 + "1")),
    "schema-missing: output": (LISTED, "", remove(LISTED)),
    "schema-missing: input": (LOOK_UP, "", remove(LOOK_UP)),
    "schema-undeclared: of no action": (
        "schemas/call.input.json", "", write("schemas/call.input.json", "{}"),
    ),
    "schema-name: other than the action's": (
        "schemas/look_up.input.json", "",
        move(LOOK_UP, "schemas/look_up.input.json"),
        manifest("actions.1.input", "schemas/look_up.input.json"),
    ),
    "schema-invalid: unknown type": (LOOK_UP, "", schema(LOOK_UP, "properties.sid.type", "text")),
    "schema-invalid: bad pattern": (LOOK_UP, "", schema(LOOK_UP, "properties.sid.pattern", "(")),
    "schema-invalid: a list": (LOOK_UP, "", write(LOOK_UP, "[1]")),
    "schema-invalid: true": (LOOK_UP, "", write(LOOK_UP, "true")),
    "schema-invalid: reference": (
        LOOK_UP, "sid",
        schema(LOOK_UP, "$defs", {"sid": {"type": "string"}}),
        schema(LOOK_UP, "properties.sid.$ref", "#/$defs/sid"),
    ),
    "schema-invalid: bad pattern of a setting": (
        "connector.json", "voice_url", manifest("parameters.1.pattern", "("),
    ),
    "schema-strict: open at the top": (LOOK_UP, "", schema(LOOK_UP, "additionalProperties")),
    "schema-strict: open by a schema": (
        LOOK_UP, "", schema(LOOK_UP, "additionalProperties", {"type": "string"}),
    ),
    "schema-strict: without properties": (
        "schemas/get_all_sms.input.json", "",
        schema("schemas/get_all_sms.input.json", "properties"),
    ),
    "schema-strict: no type": (LOOK_UP, "type", schema(LOOK_UP, "type")),
    "schema-strict: a list": (LOOK_UP, "type", schema(LOOK_UP, "type", "array")),
    "schema-strict: an object or null": (
        LOOK_UP, "type", schema(LOOK_UP, "type", ["object", "null"]),
    ),
    "schema-strict: no dialect": (LOOK_UP, "$schema", schema(LOOK_UP, "$schema")),
    "schema-strict: other dialect": (
        LOOK_UP, "$schema",
        schema(LOOK_UP, "$schema", "http://json-schema.org/draft-07/schema#"),
    ),
    "schema-strict: required and no property": (
        LOOK_UP, "required", schema(LOOK_UP, "required", ["sid", "colour"]),
    ),
    "schema-strict: required in items and no property": (
        LISTED, "messages[0].required", schema(LISTED, f"{MESSAGE}.required", ["colour"]),
    ),
    "schema-strict: items": (
        LISTED, "messages[0]", schema(LISTED, f"{MESSAGE}.additionalProperties"),
    ),
    "schema-strict: field": (
        SENT, "body",
        schema(SENT, "properties.body.type", "object"),
        schema(SENT, "properties.body.examples", [{}]),
    ),
    "schema-strict: field that may be null": (
        SENT, "body",
        schema(SENT, "properties.body.type", ["object", "null"]),
        schema(SENT, "properties.body.examples", [None]),
    ),
    "schema-strict: field that is true": (LOOK_UP, "sid", schema(LOOK_UP, "properties.sid", True)),
    "schema-strict: field without a type": (
        LOOK_UP, "sid", schema(LOOK_UP, "properties.sid.type"),
    ),
    "field-description: missing": (
        LOOK_UP, "sid", schema(LOOK_UP, "properties.sid.description"),
    ),
    "field-description: blank": (
        LOOK_UP, "sid", schema(LOOK_UP, "properties.sid.description", " "),
    ),
    "field-description: in items": (
        LISTED, "messages[0].sid", schema(LISTED, f"{MESSAGE}.properties.sid.description"),
    ),
    "field-description: of a field in a field": (
        SENT, "body.text",
        schema(SENT, "properties.body", {
            "type": "object", "additionalProperties": False, "description": "Planted.",
            "examples": [{}], "properties": {"text": {"type": "string", "examples": [""]}},
        }),
    ),
    "field-description: of a setting": (
        "connector.json", "accountId", manifest("parameters.2.description", " "),
    ),
    "field-example: missing": (LOOK_UP, "sid", schema(LOOK_UP, "properties.sid.examples")),
    "field-example: empty list": (LOOK_UP, "sid", schema(LOOK_UP, "properties.sid.examples", [])),
    "field-example: not valid": (
        LOOK_UP, "sid", schema(LOOK_UP, "properties.sid.examples", ["SM1"]),
    ),
    "field-example: second not valid": (
        LISTED, "messages[0].body", schema(LISTED, f"{MESSAGE}.properties.body.examples", ["", 5]),
    ),
    "field-example: of the whole": (
        LISTED, "examples", schema(LISTED, "examples", [{"messages": []}, {"texts": []}]),
    ),
    "field-example: of a setting": (
        "connector.json", "timeoutSeconds", manifest("options.2.example", 301),
    ),
    "field-words: missing": (LOOK_UP, "sid", schema(LOOK_UP, "properties.sid.x-mustBe")),
    "field-words: of a setting": (
        "connector.json", "accountId", manifest("parameters.2.mustBe"),
    ),
    "pattern-newline: input": (
        LOOK_UP, "sid", schema(LOOK_UP, "properties.sid.pattern", "^(SM|MM)[0-9a-fA-F]{32}$"),
    ),
    "pattern-newline: setting": (
        "connector.json", "accountId", manifest("parameters.2.pattern", "^AC[0-9a-fA-F]{32}$"),
    ),
    "streams: no such output": (LISTED, "texts", manifest("actions.2.streams", "texts")),
    "streams: no list": (SENT, "status", manifest("actions.0.streams", "status")),
    "streams: list of anything": (
        LISTED, "messages", schema(LISTED, "properties.messages.items", True),
    ),
    "streams: unknown field in the summary": (
        LISTED, "colour, size", manifest("actions.2.summary", ["sid", "size", "colour"]),
    ),
    "identifier: no such output": (SENT, "id", manifest("actions.0.identifier", "id")),
    "field-default: of an option": (
        "connector.json", "maxAttempts", manifest("options.3.default", 11),
    ),
    "field-default: of an input": (
        LOOK_UP, "sid", schema(LOOK_UP, "properties.sid.default", "none"),
    ),
    "secret-plain: not kept secret": (
        "connector.json", "authToken", manifest("parameters.3.secret", False),
    ),
    **{
        f"secret-plain: {name} as {way}": (
            file, name, schema(file, f"properties.{name}", NAME_FIELD),
        )
        for way, file in {"input": LOOK_UP, "output": SENT}.items()
        for name in ("authToken",)
    },
    "secret-plain: in items": (
        LISTED, "messages[0].apiKey", schema(LISTED, f"{MESSAGE}.properties.apiKey", NAME_FIELD),
    ),
    **{
        f"secret-plain: {name}": ("connector.json", name, manifest("options.1.name", name))
        for name in SECRET_NAMES[:1]
    },
    "credential: account SID": (PLANTED, "line 2", code(f"# {CREDENTIALS['account SID']}")),
    "phone-number: in Germany": (PLANTED, "line 2", code(f"# {NUMBERS['in Germany']}")),
    "leftover: note": (PLANTED, "line 2", code(f"# {LEFTOVERS['note']}")),
    "import-outside: not declared": (PLANTED, "line 2", code(BAD_IMPORTS["not declared"])),
    **{
        f"version: {version}": ("connector.json", "version", manifest("version", version))
        for version in ("1.0.0-01", "1.0.0-rc..1", "1.0.0-.")
    },
    "changelog: no heading": ("CHANGELOG.md", "", manifest("version", "1.0.1")),
    "changelog: no heading of a pre-release": (
        "CHANGELOG.md", "", manifest("version", "1.0.0-rc.1"),
    ),
    "changelog: no date": ("CHANGELOG.md", "", write("CHANGELOG.md", "## [1.0.0]\n")),
    "changelog: no day of the calendar": (
        "CHANGELOG.md", "", write("CHANGELOG.md", "## [1.0.0] - 2026-02-30\n"),
    ),
    "changelog: a dot is a dot": (
        "CHANGELOG.md", "", write("CHANGELOG.md", "## [1x0x0] - 2026-02-03\n"),
    ),
    "icon: no SVG": ("icon.svg", "", remove("icon.svg")),
    "icon: no PNG": ("icon.png", "", write("icon.png", b"GIF89a".ljust(100))),
    "icon: cut off": ("icon.png", "", write("icon.png", png(128, 128)[:32])),
    "icon: damaged picture": (
        "icon.png", "", write("icon.png", png(64, 64).replace(b"IDATx", b"IDATy")),
    ),
    "credential: in a text of the picture": (
        "icon.png", "text in the picture",
        write("icon.png", png(64, 64, 0, chunk(b"tEXt", b"Comment\0AC" + HEX.encode() * 2))),
    ),
    "credential: in a compressed text of the picture": (
        "icon.png", "text in the picture",
        write("icon.png", png(
            64, 64, 0, chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"AC" + HEX.encode() * 2)),
        )),
    ),
    "leftover: in an international text of the picture": (
        "icon.png", "text in the picture",
        write("icon.png", png(
            64, 64, 0,
            chunk(b"iTXt", b"A\0\1\0en\0A\0" + zlib.compress(LEFTOVERS["filler"].encode())),
        )),
    ),
    "credential: in the drawing": (
        "icon.svg", "line 1", write("icon.svg", svg(f"<!-- AC{HEX * 2} -->")),
    ),
    "leftover: in the drawing": (
        "icon.svg", "line 1", write("icon.svg", svg(f"<!-- {LEFTOVERS['note']} -->")),
    ),
    "text-encoding: drawing": ("icon.svg", "", write("icon.svg", b"<svg>\xff</svg>")),
    "icon: not square": ("icon.png", "", write("icon.png", png(128, 127))),
    "icon: too small": ("icon.png", "", write("icon.png", png(63, 63))),
    "icon: too large": ("icon.png", "", write("icon.png", png(1025, 1025))),
    "icon: too many bytes": ("icon.png", "", write("icon.png", png(128, 128, ICON_BYTES + 1))),
    "icon: other name": (
        "logo.png", "", move("icon.svg", "logo.svg"), manifest("icon", "logo.png"),
    ),
    "requirement: no TOML": ("pyproject.toml", "", append("pyproject.toml", b"[project\n")),
    "requirement: no project": ("pyproject.toml", "", write("pyproject.toml", "[tool]\n")),
    "requirement: no requirement": (
        "pyproject.toml", "", replace("pyproject.toml", "requests>=2.32.2,<3", "requests two"),
    ),
    "requirement: no requirement of an extra": (
        "pyproject.toml", "", replace("pyproject.toml", "aiohttp>=3.10,<4", "aio http"),
    ),
    **{
        f"requirement-range: {given or 'nothing'}": (
            "pyproject.toml", "dependencies",
            replace("pyproject.toml", '"requests>=2.32.2,<3"', f'"requests{given}"'),
        )
        for given in ("", ">=2.32", "<3", "!=2.32", ">2,!=3")
    },
    "test-missing: action": (
        "tests/actions/test_send_sms.py", "", remove("tests/actions/test_send_sms.py"),
    ),
    "description-long: by a letter": (
        "connector.json", "description", manifest("description", "x" * 161),
    ),
}  # fmt: skip


def test_the_real_tree_has_no_fault():
    assert check.check(ROOT) == []


def test_a_copy_of_the_tree_has_no_fault(tree):
    assert check.check(tree) == []


def own(found):
    """Leave out what follows from a change: the listing's texts and the .bizc need it too."""
    return [finding for finding in found if finding.rule not in ELSEWHERE]


@pytest.mark.parametrize("case", FAULTS)
def test_a_planted_fault_is_found_and_nothing_else(tree, case):
    rule = case.partition(":")[0]
    file, place, *plants = FAULTS[case]
    for plant in plants:
        plant(tree)
    found = own(check.check(tree))
    assert [each[:4] for each in found] == [(RULES[rule], rule, file, place)]
    assert SAYS_WHAT_TO_DO.search(found[0].message), found[0].message
    assert not found[0].message.endswith(".")


@pytest.mark.parametrize(
    ("rule", "planted"),
    [
        ("credential", {kind: f"# {text}" for kind, text in CREDENTIALS.items()}),
        ("phone-number", {kind: f"# {text}" for kind, text in NUMBERS.items()}),
        ("leftover", {kind: f"# {text}" for kind, text in LEFTOVERS.items()}),
        ("import-outside", BAD_IMPORTS),
    ],
    ids=["credential", "phone-number", "leftover", "import-outside"],
)
def test_every_kind_of_it_is_found(tree, rule, planted):
    files = {f"auth/{re.sub('[^a-z]+', '_', kind.lower())}.py": kind for kind in planted}
    for file, kind in files.items():
        write(file, f'"""Planted."""\n{planted[kind]}\n')(tree)
    found = check.check(tree)
    assert [(each.rule, each.file, each.place) for each in found] == [
        (rule, file, f"line {BAD_IMPORT_LINES.get(files[file], 2)}") for file in sorted(files)
    ]
    assert all(SAYS_WHAT_TO_DO.search(each.message) for each in found)


BAD_PICTURES = {
    "without its end": png(64, 64)[:-12],
    "with half of its end": png(64, 64)[:-2],
    "with something after it": png(64, 64) + b"tEXt",
    "with a whole chunk after it": png(64, 64) + chunk(b"tEXt", b"a\0b"),
    "without a header": b"\x89PNG\r\n\x1a\n" + chunk(b"IEND", b""),
    "with a header of another length": b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", b"short"),
    "with nothing in it": b"\x89PNG\r\n\x1a\n",
    "with a row too few": png(64, 64, rows=63),
    "with a row too many": png(64, 64, rows=65),
    "without a picture": png(64, 64, rows=0),
    "with another checksum": png(64, 64).replace(b"IDAT", b"JDAT"),
    "interlaced and not all there": (
        png(64, 64, interlaced=1)[:33]
        + chunk(b"IDAT", zlib.compress(b"a")[:-4])
        + chunk(b"IEND", b"")
    ),
    "no compressed picture": png(64, 64, 0, chunk(b"IDAT", b"picture")),
    "zeros": png(64, 64)[:33] + bytes(100),
}
BAD_DRAWINGS = {
    "no XML": "drawing",
    "empty": "",
    "not closed": "<svg>",
    "another root": "<html xmlns='http://www.w3.org/1999/xhtml'/>",
    "root of no namespace": "<svg viewBox='0 0 1 1'/>",
    "no viewBox": svg().replace("viewBox", "box"),
    "viewBox not square": svg(viewbox="0 0 128 64"),
    "viewBox of nothing": svg(viewbox="0 0 0 0"),
    "viewBox of words": svg(viewbox="a b c d"),
    "DOCTYPE": "<!DOCTYPE svg>" + svg(),
    "entity": '<!DOCTYPE svg [<!ENTITY a "b">]>' + svg("&a;"),
    "style sheet": '<?xml-stylesheet href="a.css"?>' + svg(),
    "script": svg("<script>x()</script>"),
    "script of another namespace": svg('<s:script xmlns:s="http://www.w3.org/1999/xhtml"/>'),
    "handler": svg(attributes='onload="x()"'),
    "handler in capitals": svg('<path onClick="x()"/>'),
    "HTML": svg("<foreignObject/>"),
    "picture from elsewhere": svg('<image href="https://example.com/a.png"/>'),
    "link": svg(
        '<a l:href="https://example.com/"/>', attributes='xmlns:l="http://www.w3.org/1999/xlink"'
    ),
    "script as a link": svg('<a href="javascript:x()"/>'),
    "script to come": svg('<set attributeName="href" to="javascript:x()"/>'),
    "fill from elsewhere": svg('<path fill="url(https://example.com/a)"/>'),
    "style from elsewhere": svg("<style>@import 'a.css';</style>"),
    "too many bytes": svg(" " * ICON_BYTES),
}


def test_every_broken_picture_and_drawing_is_found(tree):
    for name, cases in {"icon.png": BAD_PICTURES, "icon.svg": BAD_DRAWINGS}.items():
        whole = (tree / name).read_bytes()
        for case, content in cases.items():
            write(name, content)(tree)
            faults = icons.png_faults if name == "icon.png" else icons.svg_faults
            messages = [*faults((tree / name).read_bytes())]
            assert len(messages) == 1, (case, messages)
            assert SAYS_WHAT_TO_DO.search(messages[0]), messages
        assert rules(check.check(tree)) == [("icon", name)]
        write(name, whole)(tree)


def test_pictures_and_drawings_of_other_kinds_are_left_alone():
    rich = '<use href="#a"/><path fill="url( \'#a\')"/><image href="data:image/png;base64,AA=="/>'
    for good in (svg(rich), "\ufeff<?xml version='1.0' encoding='utf-8'?>" + svg()):
        assert [*icons.svg_faults(good.encode())] == []
    noted = png(64, 64, 0, chunk(b"tEXt", b"Author\0x"), chunk(b"pHYs", bytes(9)))
    for good in (noted, png(64, 64, interlaced=1)):
        assert [*icons.png_faults(good)] == []


def test_every_name_of_a_secret_is_found(tree):
    for name in SECRET_NAMES:
        schema(LOOK_UP, f"properties.{name}", NAME_FIELD)(tree)
        named = {"name": name, "displayName": name, "description": "Planted.", "example": "a"}
        edit(
            "connector.json",
            lambda found, named=named: found["options"].append({**named, "type": "string"}),
        )(tree)
    found = own(check.check(tree))
    assert {each.rule for each in found} == {"secret-plain"}
    places = [(each.file, each.place) for each in found]
    assert sorted(places) == sorted(
        (file, name) for file in ("connector.json", LOOK_UP) for name in SECRET_NAMES
    )


def test_every_rule_has_a_planted_fault():
    assert {case.partition(":")[0] for case in FAULTS} == set(RULES)


def test_only_these_rules_let_a_build_pass():
    harmless = {rule: tier for rule, tier in RULES.items() if tier != "error"}
    assert harmless == {
        "file-stray": "warning",
        "phone-number": "warning",
        "pattern-newline": "warning",
        "requirement-range": "warning",
        "test-missing": "warning",
        "field-words": "advice",
        "description-long": "advice",
    }


CLEAN = {
    "made-up SIDs": code(f"# AC{'a' * 32} SM{'b' * 32} {'0' * 32} AC{'aA' * 16} x_{'F' * 32}"),
    "made-up keys": code(f"# SG.{'x' * 22}.{'y' * 43} ghp_{'0' * 36} Bearer {'a' * 30}"),
    "hash": code(f"# {HEX * 4}"),
    "longer word": code(f"# x{HEX * 2} {HEX * 2}g"),
    "URL with a port": code("# https://example.com:8080/somebody@example.com"),
    "URL to fill in": code("# https://<user>:<password>@example.com"),
    "word before a short word": code("# Basic authentication, Bearer of news"),
    "word before a long word": code("# basic internationalization, bearer well-known-and-trusted"),
    "names that only sound secret": lambda tree: [
        schema(LOOK_UP, f"properties.{name}", NAME_FIELD)(tree)
        for name in ("apiKeySid", "shipping", "pinned", "passenger", "bypass", "keyword")
    ],
    "Twilio's test numbers": code("# +15005550006 +15005550000 whatsapp:+14155550123"),
    "other numbers": code("# +4930 2026-11-23T00:00:00+0000 1+23456789012345678"),
    "words like leftovers": code("# todo, hackathon, changed mean, replacement, <name>, here"),
    "paths of everybody": code("# https://example.com/home/x a/tmp/x ./tmp/x /usr/bin/x C:/x"),
    "backslashes that are no path": code(
        '# "a:\\n" K:\\d+\\s C:\\Windows\\System32 C:\\Program Files\\x'
    ),
    "imports that are allowed": code(
        "import json, requests.adapters, yaml\nfrom connector_runtime import errors\n"
        "from . import connect, planted, explain as e\nfrom .planted import x\nfrom . import *\n"
        "import connector_runtime.http\nfrom connector_runtime import load\n"
        "__import__('json'), __import__(load), load('pandas'), load.import_module('requests')"
    ),
    "guarded imports of an extra, in other words": code(
        "try: import aiohttp\nexcept (OSError, ImportError): pass\n"
        "try: import aiohttp\nexcept ModuleNotFoundError: pass\n"
        "try: __import__('aiohttp')\nexcept (ModuleNotFoundError, OSError): pass"
    ),
    "sum of a thousand": code("x = " + "+".join(["1"] * 1500)),
    "guarded import of an extra": code(
        "try: import aiohttp\nexcept OSError: pass\nexcept ImportError: aiohttp = None\n"
        "else: from aiohttp import web"
    ),
    "guarded import in a function": code(
        "def f():\n    try:\n        if f: import aiohttp\n    except ImportError: return"
    ),
    "helper among the handlers": write("actions/_planted.py", ""),
    "compiled code": write("actions/__pycache__/send_sms.cpython-312.pyc", b"\0"),
    "line ends of Windows": lambda tree: [
        (tree / name).write_bytes((tree / name).read_bytes().replace(b"\n", b"\r\n"))
        for name in ("README.md", "connector.json", "schemas/manifest.json", LOOK_UP)
    ],
    "dollar that is a letter": schema(
        LISTED, f"{MESSAGE}.properties.price_unit",
        {
            "type": "string", "description": "Planted.", "examples": ["$"],
            "pattern": r"^[$]|USD|\$", "x-mustBe": "planted",
        },
    ),
    "number of a setting as example": manifest("options.2.example", 0.1),
    "least and greatest icon": write("icon.png", png(64, 64, ICON_BYTES)),
    "large icon": write("icon.png", png(1024, 1024)),
    "description that just fits": manifest("description", "x" * 160),
    "requirement of one version": replace("pyproject.toml", "requests>=2.32.2,<3", "requests==2"),
    "compatible requirement": replace("pyproject.toml", "requests>=2.32.2,<3", "requests~=2.32"),
}  # fmt: skip


@pytest.mark.parametrize("case", CLEAN)
def test_what_only_looks_like_a_fault_is_left_alone(tree, case):
    CLEAN[case](tree)
    assert own(check.check(tree)) == []


@pytest.mark.parametrize(
    "heading", ["## [1.0.1-rc.1] - 2026-02-03", "## [1.0.1-rc.1] - 2024-02-29  "]
)
def test_a_pre_release_with_its_heading_is_no_fault(tree, heading):
    manifest("version", "1.0.1-rc.1")(tree)
    write("CHANGELOG.md", f"# Changelog\n\n{heading}\n\n- New.\n")(tree)
    assert check.check(tree) == []


def rules(found):
    return [(each.rule, each.file) for each in found]


def test_faults_are_reported_all_at_once_and_the_worst_first(tree):
    for case in (
        "field-words: missing",
        "description-long: by a letter",
        "file-stray: no code",
        "test-missing: action",
        "icon: no SVG",
        "streams: unknown field in the summary",
        "secret-plain: not kept secret",
        "leftover: note",
        "text-encoding: README",
    ):
        for plant in FAULTS[case][2:]:
            plant(tree)
    found = check.check(tree)
    assert [(each.tier, each.rule) for each in found] == [
        ("error", "text-encoding"),
        ("error", "leftover"),
        ("error", "secret-plain"),
        ("error", "icon"),
        ("error", "streams"),
        ("warning", "file-stray"),
        ("warning", "test-missing"),
        ("advice", "description-long"),
        ("advice", "field-words"),
    ]


def test_each_line_and_each_kind_has_a_finding_of_its_own(tree):
    code(f"# {LEFTOVERS['note']} {LEFTOVERS['filler']} {LEFTOVERS['note']}\n# {HEX * 2}")(tree)
    assert [(each.rule, each.place) for each in check.check(tree)] == [
        ("leftover", "line 2"),
        ("leftover", "line 2"),
        ("credential", "line 3"),
    ]


def test_a_missing_file_does_not_hide_the_rest(tree):
    remove("connector.json")(tree)
    remove("CHANGELOG.md")(tree)
    code("import pandas")(tree)
    assert rules(check.check(tree)) == [
        ("file-missing", "CHANGELOG.md"),
        ("import-outside", PLANTED),
        ("file-missing", "connector.json"),
    ]


def test_a_missing_changelog_gives_no_version_a_date(tree):
    remove("CHANGELOG.md")(tree)
    assert rules(check.check(tree)) == [
        ("changelog", "CHANGELOG.md"),
        ("file-missing", "CHANGELOG.md"),
    ]


def test_a_manifest_that_breaks_its_schema_hides_only_what_goes_by_it(tree):
    manifest("parameters.3.secret", "no")(tree)
    manifest("guid", "1")(tree)
    remove("icon.svg")(tree)
    append("schemas/manifest.json", b"\n")(tree)
    code("import pandas")(tree)
    found = check.check(tree)
    assert rules(found) == [
        ("import-outside", PLANTED),
        ("manifest", "connector.json"),
        ("manifest", "connector.json"),
        ("manifest-schema-copy", "schemas/manifest.json"),
    ]
    assert [each.place for each in found[1:3]] == ["guid", "parameters[3].secret"]


def test_a_pattern_of_the_manifest_is_told_in_words():
    document = json.loads((ROOT / "schemas" / "manifest.json").read_text("utf-8"))
    example = json.loads((ROOT / "connector.json").read_text("utf-8"))

    def spoil(properties, value):
        for key, field in properties.items():
            if "pattern" in field:
                value[key] = "?" * 20
                yield key
            elif "items" in field:
                for inner in value[key] if "properties" in field["items"] else ():
                    yield from spoil(field["items"]["properties"], inner)

    spoilt = [*spoil(document["properties"], example)]
    found = [*findings.of_schema("manifest", "x", Schema(document), example, check.FORMS)]
    assert len(found) == len(spoilt) > 20
    for each in found:
        assert each.message.removeprefix("it must be ") in check.FORMS.values()


def test_a_handler_that_is_no_text_is_reported_by_both_rules(tree):
    write("actions/send_sms.py", b"x = '\xff'\n")(tree)
    assert rules(check.check(tree)) == [
        ("text-encoding", "actions/send_sms.py"),
        ("handler-syntax", "actions/send_sms.py"),
    ]


def test_a_schema_that_is_gone_takes_its_globals_along(tree):
    remove("schemas/send_sms.input.json")(tree)
    assert rules(check.check(tree)) == [
        ("global-input", "connector.json"),
        ("schema-missing", "schemas/send_sms.input.json"),
    ]


def test_a_missing_icon_of_another_name_is_two_faults(tree):
    manifest("icon", "logo.png")(tree)
    assert rules(check.check(tree)) == [("icon", "logo.png"), ("icon", "logo.svg")]


def test_an_icon_can_be_wrong_in_every_way(tree):
    write("icon.png", png(2000, 1, archive.MOST_BYTES + 1))(tree)
    assert rules(check.check(tree)) == [
        ("size", "(package)"),
        *[("icon", "icon.png")] * 3,
        ("size", "icon.png"),
    ]


def test_without_a_project_file_imports_are_not_judged(tree):
    remove("pyproject.toml")(tree)
    code("import pandas")(tree)
    assert rules(check.check(tree)) == [("file-missing", "pyproject.toml")]


def test_a_requirement_brings_the_modules_of_its_own_metadata(tree):
    replace("pyproject.toml", '"pyyaml>=6.0.1,<7",', "")(tree)
    found = check.check(tree)
    assert rules(found) == [("import-outside", "connector_runtime/settings.py")]
    assert "'yaml'" in found[0].message


def test_without_extras_not_even_a_guarded_import_has_one_to_come_from(tree):
    path = tree / "pyproject.toml"
    kept = re.sub(
        r"\[project\.optional-dependencies\].*?(?=^\[)",
        "",
        path.read_text("utf-8"),
        flags=re.S | re.M,
    )
    path.write_text(kept, "utf-8")
    found = check.check(tree)
    assert set(rules(found)) == {("import-outside", "connector_runtime/archive.py")}
    assert all("'cryptography." in each.message for each in found)


def test_without_requirements_nothing_but_the_standard_library_is_left(tree):
    write("pyproject.toml", '[project]\nname = "x"\n')(tree)
    found = check.check(tree)
    assert {each.rule for each in found} == {"import-outside"}
    assert {"'requests'", "'click'", "'yaml'"} <= {
        each.message.split()[2].strip(",") for each in found
    }


def test_no_finding_shows_the_secret_or_number_that_it_found(tree):
    planted = {**CREDENTIALS, **NUMBERS}
    code("\n".join(f"# {text}" for text in planted.values()))(tree)
    found = check.check(tree)
    assert {each.place for each in found} == {f"line {n + 2}" for n in range(len(planted))}
    shown = check.as_json(found) + "".join(map(str, found))
    for text in (HEX, HEX[::-1], "hidden", "QWxhZGRpbjpvcGVu", "ABCDEFGHIJKLMNOP"):
        assert text not in shown
    for number in NUMBERS.values():
        assert number[-8:] not in shown


def test_as_json_is_what_was_found_with_names(tree):
    remove("icon.svg")(tree)
    code("# " + NUMBERS["in Germany"])(tree)
    found = check.check(tree)
    listed = json.loads(check.as_json(found))
    assert [Finding(**each) for each in listed] == found
    assert [each["tier"] for each in listed] == ["error", "warning"]
    assert json.loads(check.as_json([])) == []


def test_json_keeps_letters_as_they_are():
    assert "é" in check.as_json([Finding("error", "icon", "é.png", "", "make it square")])


@pytest.mark.parametrize(
    ("finding", "text"),
    [
        (
            Finding("error", "icon", "icon.png", "", "make it square"),
            "error    icon.png: make it square. [icon]",
        ),
        (
            Finding("warning", "pattern-newline", "a.json", "sid", "end it"),
            "warning  a.json: sid: end it. [pattern-newline]",
        ),
    ],
    ids=["without a place", "with a place"],
)
def test_a_finding_in_one_line(finding, text):
    assert str(finding) == text


def test_a_password_in_a_requirement_is_found_and_not_repeated(tree):
    secret = "planted" + "-password"
    address = f"https://user:{secret}@" + "example.com/requests.whl"
    replace("pyproject.toml", '"requests>=2.32.2,<3"', f'"requests @ {address}"')(tree)
    found = check.check(tree)
    assert ("credential", "pyproject.toml") in rules(found)
    assert not any(secret in str(finding) for finding in found)
