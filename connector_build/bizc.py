"""Make the .bizc, the package that Bizagi Studio installs: a ZIP without a top folder.

The handlers and what they share are the connector's own, in `marketplace/bizagi/`. The JavaScript
that every connector shares is in `connector_build/bizagi/`. The rest comes from connector.json and
the schemas.
"""

from __future__ import annotations

import base64
import binascii
import email.utils
import hashlib
import json
import posixpath
import re
import uuid
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

from connector_runtime import errors

from .findings import Finding, fault
from .package import text_bytes

# What no public page says and is concluded from Bizagi's build tools: if Studio disagrees, correct
# it here. docs/bizagi.md has the list, and a test compares the two.
DATATYPE = ""  # of every parameter and property
AUTHENTICATION = "custom"
RUNTIME_VERSION = "1"
XSD_TYPES = {
    "string": "xs:string",
    "number": "xs:decimal",
    "integer": "xs:integer",
    "boolean": "xs:boolean",
    "date": "xs:dateTime",
}
OUTSIDE = "../../../../../../../"  # from node_modules/<module> to the folder that holds the logs

# Beside handlers, the archive has a place for shared modules only in node_modules.
SOURCE = Path("marketplace", "bizagi")
OWN = "{name}-connector"
SHARED = "bizagi-connector"
_HERE = Path(__file__).parent / "bizagi"

# Options of the manifest that mean nothing here, where nothing is kept between two calls.
_NOT_HERE = ("resendAfterSeconds", "keepDays")
# What transport.js and resolution.js go by, for a connector whose manifest does not declare it.
_STANDARD: list[dict[str, Any]] = [
    {
        "name": "connectTimeoutSeconds",
        "type": "number",
        "default": 10,
        "minimum": 0.1,
        "maximum": 300,
        "description": "How long to wait for a connection, its TLS handshake included.",
        "mustBe": "a number of seconds from 0.1 to 300",
    },
    {
        "name": "timeoutSeconds",
        "type": "number",
        "default": 35,
        "minimum": 0.1,
        "maximum": 300,
        "description": "How long to wait for a whole answer, and in all between attempts.",
        "mustBe": "a number of seconds from 0.1 to 300",
    },
    {
        "name": "maxAttempts",
        "type": "integer",
        "default": 5,
        "minimum": 1,
        "maximum": 10,
        "description": "How often a request may be made in all, where repeating it does no harm.",
        "mustBe": "a whole number from 1 to 10",
    },
    {
        "name": "resolveSeconds",
        "type": "number",
        "default": 45,
        "minimum": 0,
        "maximum": 300,
        "description": "How long to look for what became of a write whose answer was lost; "
        "0 turns the look-up off.",
        "mustBe": "a number of seconds from 0 to 300",
    },
]
_PROXY = {
    "name": "proxyUrl",
    "displayName": "Proxy",
    "type": "string",
    "secret": True,  # it may hold a password
    "description": "The proxy that leads to the service, with its user and password if it wants "
    "them. When it is empty, HTTPS_PROXY and NO_PROXY of the environment are used.",
    "example": "http://proxy.example.com:8080",
    "pattern": "^(https?://)?([!-.0-?A-~]+@)?[A-Za-z0-9.\\-\\[\\]:]+/?$(?!\\n)",
    "mustBe": "http:// or https:// and a host name, such as http://proxy.example.com:8080; "
    "user and password may stand before the host name: http://user:password@proxy.example.com",
}

_XSD = "http://www.w3.org/2001/XMLSchema"
_TARGET = "http://tempuri.org/XMLSchema1.xsd"
_DASH_CASE = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
# What schema.js understands, and what it may pass over.
_CHECKED = {"type", "required", "properties", "additionalProperties", "items", "pattern", "default"}
_CHECKED |= {"minLength", "maxLength", "minimum", "maximum", "x-mustBe"}
_NODE = {"fs", "http", "net", "path", "tls", "url", "zlib"}  # what may be used of Node.js
_INVOKE = r"\bexports\.invoke\b\s*="  # what the host calls of a handler
_IGNORED = {"$schema", "title", "description", "examples"}


def contents(root: Path) -> dict[str, bytes]:
    """Return the archive's files by their name in it; `package.write` writes them."""
    manifest = _json(root / "connector.json")
    schemas = {
        name: _json(root / name)
        for action in manifest["actions"]
        for name in (action["input"], action["output"])
    }
    own = OWN.format(name=manifest["name"])
    files = {
        "actions.js": _actions(manifest),
        "def/connector.json": _text(_definition(root, manifest, schemas)),
        "etc/config.js": _config(manifest),
        "package.json": _text(_package(manifest)),
        "README.md": _readme(manifest, schemas),
        f"node_modules/{SHARED}/definition.json": _text(_data(root, manifest, schemas)),
    }
    packed = {name: text.encode() for name, text in files.items()}
    for source in (_HERE, root / SOURCE):
        for path in source.rglob("*.js"):
            packed[_packed_name(path.relative_to(source).as_posix(), own)] = text_bytes(path)
    return packed


def _packed_name(name: str, own: str) -> str:
    """Return where in the archive a script goes, by its path in either source."""
    if name.startswith("connector/"):
        return f"node_modules/{SHARED}/{name.removeprefix('connector/')}"
    return f"node_modules/{name}" if name.startswith(f"{own}/") else name


def options(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the properties that Studio shows beside the authentication parameters."""
    declared = [option for option in manifest["options"] if option["name"] not in _NOT_HERE]
    names = {option["name"] for option in declared}
    return [*declared, *(o for o in _STANDARD if o["name"] not in names), _PROXY]


def dash_case(name: str) -> str:
    """Write an action's name as Bizagi wants it: get_note is get-note."""
    return name.replace("_", "-")


def derived_guid(guid: str, name: str) -> str:
    """Return a GUID in uuid4's form that is the same in every build."""
    digest = hashlib.sha256(f"{guid}/{name}".encode()).digest()
    return str(uuid.UUID(bytes=digest[:16], version=4))


def _definition(
    root: Path, manifest: Mapping[str, Any], schemas: Mapping[str, Any]
) -> dict[str, Any]:
    """Make def/connector.json, which Studio reads."""

    def declared(entry: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "name": entry["name"],
            "datatype": DATATYPE,
            "required": entry.get("required", False),
            "passwordmode": entry.get("secret", False),
            "propertyvalues": [],
        }

    return {
        "globalguid": manifest["guid"],
        "name": manifest["displayName"],
        "foldername": manifest["displayName"].lower(),
        "description": manifest["description"],
        "homeurl": manifest["homepage"],
        "icon": base64.b64encode((root / manifest["icon"]).read_bytes()).decode(),
        "version": manifest["version"],
        "runtimeversion": RUNTIME_VERSION,
        "author": manifest["author"],
        "type": "custom",
        "systemdefinition": {
            "properties": [declared(entry) for entry in options(manifest)],
            "authentications": [
                {
                    "authenticationtype": AUTHENTICATION,
                    "name": AUTHENTICATION,
                    "properties": [declared(entry) for entry in manifest["parameters"]],
                }
            ],
        },
        "actions": [
            {
                "guid": derived_guid(manifest["guid"], action["name"]),
                "name": dash_case(action["name"]),
                "displayName": action["displayName"],
                "description": action["description"],
                "actiontype": "custom",
                "contenttype": "",
                "resturl": "",
                "httpoperation": "notdefined",
                "useauthentication": False,
                "xsdinput": _base64(input_xsd(schemas[action["input"]], action["globals"])),
                "xsdoutput": _base64(output_xsd(schemas[action["output"]])),
            }
            for action in manifest["actions"]
        ],
    }


def input_xsd(schema: Mapping[str, Any], from_parameters: Iterable[str] = ()) -> str:
    """Nest inputs > input > fields. What a parameter can give, `from_parameters`, is optional."""
    required = set(schema.get("required", ())) - set(from_parameters)
    return _xsd(_object("inputs", _object("input", *_fields(schema, required))))


def output_xsd(schema: Mapping[str, Any]) -> str:
    """Nest outputs > (output > fields, error).

    An action that failed has an empty output, and one that did not, an empty error: no field of
    either is always there.
    """
    error = [
        _simple("error", "string", least=0),
        _simple("message", "string", least=0),
        _simple("status", "integer", least=0),
    ]
    output = _object("output", *_fields(schema, set()))
    return _xsd(_object("outputs", output, _object("error", *error)))


def _xsd(element: str) -> str:
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        f'<xs:schema id="XMLSchema1" targetNamespace="{_TARGET}" elementFormDefault="qualified"'
        f' xmlns="{_TARGET}" xmlns:xs="{_XSD}">{element}</xs:schema>'
    )


def _object(name: str, *children: str, many: bool = False, least: int = 1) -> str:
    inner = f"<xs:complexType><xs:sequence>{''.join(children)}</xs:sequence></xs:complexType>"
    return f"<xs:element name={quoteattr(name)}{_occurs(many, least)}>{inner}</xs:element>"


def _simple(
    name: str, kind: str, many: bool = False, least: int = 1, nillable: bool = False
) -> str:
    more = _occurs(many, least) + (' nillable="true"' if nillable else "")
    return f'<xs:element name={quoteattr(name)} type="{XSD_TYPES[kind]}"{more}/>'


def _occurs(many: bool, least: int) -> str:
    if many:
        return ' minOccurs="0" maxOccurs="unbounded"'
    return "" if least else ' minOccurs="0"'


def _fields(schema: Mapping[str, Any], required: set[str]) -> Iterator[str]:
    """Write an object's fields; those that are not `required` may be missing, and be null."""
    for name, field in schema["properties"].items():
        kind = kind_of(field)
        many = kind == "array"
        inner = field["items"] if many else field
        if many:
            kind = kind_of(inner)
        least = 1 if name in required else 0
        if kind == "object":
            fields = _fields(inner, set(inner.get("required", ())) if least else set())
            yield _object(name, *fields, many=many, least=least)
        else:
            nillable = "null" in inner["type"] or not (least or many)
            yield _simple(name, kind, many, least, nillable)


def kind_of(field: Mapping[str, Any]) -> str:
    """Return a field's one type for Bizagi; "date" where its example is an RFC 2822 date.

    What may be text or something else is text: Bizagi has no type for both.
    """
    declared = field["type"]
    kinds = [declared] if isinstance(declared, str) else [k for k in declared if k != "null"]
    if "string" not in kinds:
        return str(kinds[0])
    examples = field.get("examples", ())
    return "date" if examples and all(map(_is_date, examples)) else "string"


def _is_date(example: Any) -> bool:
    try:
        return isinstance(example, str) and bool(email.utils.parsedate_to_datetime(example))
    except (TypeError, ValueError):
        return False


def _data(root: Path, manifest: Mapping[str, Any], schemas: Mapping[str, Any]) -> dict[str, Any]:
    """Make what the JavaScript reads: settings, schemas, effects, hints."""
    return {
        "name": manifest["name"],
        "displayName": manifest["displayName"],
        "version": manifest["version"],
        "settings": _settings(manifest),
        "codes": codes(),
        "actions": {
            dash_case(action["name"]): {
                "name": action["name"],
                "globals": action["globals"],
                "repeatable": action["repeatable"],
                "identifier": action.get("identifier"),
                "streams": action.get("streams"),
                "input": _packed(schemas[action["input"]]),
                "output": _packed(schemas[action["output"]]),
            }
            for action in manifest["actions"]
        },
        "hints": _json(root / manifest["auth"] / "hints.json"),
    }


def codes() -> list[str]:
    """Return every error code that an action can answer with: processes decide by them."""
    # An engine alone meets the fault of a package; a defect has no class of its own here.
    kinds = {kind.code for kind in errors.kinds()} - {errors.InvalidPackage.code}
    return sorted({*kinds, "CONNECTOR_ERROR"})


def _settings(manifest: Mapping[str, Any]) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    for entry in [*manifest["parameters"], *options(manifest)]:
        facets = ("type", "pattern", "minimum", "maximum", "default")
        properties[entry["name"]] = {key: entry[key] for key in facets if key in entry}
        if "mustBe" in entry:
            properties[entry["name"]]["x-mustBe"] = entry["mustBe"]
    required = [entry["name"] for entry in manifest["parameters"] if entry["required"]]
    return {"type": "object", "required": required, "properties": properties}


def _packed(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Keep of a schema what decides, and mark the dates."""
    packed = {key: value for key, value in schema.items() if key in _CHECKED}
    if "items" in packed:
        packed["items"] = _packed(packed["items"])
    if "properties" in packed:
        packed["properties"] = {n: _packed(s) for n, s in packed["properties"].items()}
    elif "items" not in packed and kind_of(schema) == "date":
        packed["x-date"] = True
    return packed


def _actions(manifest: Mapping[str, Any]) -> str:
    lines = [
        f"  '{dash_case(action['name'])}': {json.dumps(action['description'])},\n"
        for action in manifest["actions"]
    ]
    return f"'use strict';\n\nmodule.exports = {{\n{''.join(lines)}}};\n"


def _config(manifest: Mapping[str, Any]) -> str:
    """Make etc/config.js, which the connector's own log reads, and Bizagi's utilities."""
    settings = {
        "backingDownConfigFile": OUTSIDE,
        "backingDownLogDirectory": OUTSIDE,
        "logFileName": manifest["name"],
        "levelLog": "INFO",
        "logType": "file",
    }
    lines = "".join(f"  {key}: {json.dumps(value)},\n" for key, value in settings.items())
    return f"'use strict';\n\nmodule.exports = {{\n{lines}}};\n"


def _package(manifest: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": manifest["name"],
        "version": manifest["version"],
        "description": manifest["description"],
        "author": manifest["author"],
        "homepage": manifest["homepage"],
        "license": "MIT",
        "private": True,
        "main": "bizagiRouter.js",
        "engines": {"node": ">=10"},
        "dependencies": {},
    }


def _readme(manifest: Mapping[str, Any], schemas: Mapping[str, Any]) -> str:
    actions = manifest["actions"]
    lines = [
        f"# {manifest['displayName']} {manifest['version']}\n",
        f"{manifest['description']}\n",
        "## Before you start\n",
        "You need Bizagi Studio and a Twilio account. Install this file in Studio as a connector;",
        "a later file of the same major version replaces it in place.\n",
        "## Configuring the connector\n",
        "Set the authentication parameters in Studio, and again in each environment:\n",
        *(_setting(entry) for entry in manifest["parameters"]),
        "\nThe properties can be left empty:\n",
        *(_setting(entry) for entry in manifest["options"]),
        "\nAn action's own input beats the parameter of the same name. Empty and blank text count",
        "as not given, at either level.\n",
        "## Using the connector\n",
        f"It has {len(actions)} actions.\n",
    ]
    for action in actions:
        lines.append(f"### {action['displayName']} (`{dash_case(action['name'])}`)\n")
        lines.append(f"{action['description']} See [Twilio's page]({action['documentation']}).\n")
        given = schemas[action["input"]]
        inputs = [*_described(given, required=given.get("required", ()))]
        lines += ["Inputs:\n", *inputs] if inputs else ["No inputs."]
        lines += ["\nOutputs:\n", *_described(schemas[action["output"]]), ""]
    return "\n".join([*lines, _HABITS])


_HABITS = """\
## Dates

Dates come as Bizagi keeps them, in UTC and without an offset: `2018-05-15T16:02:24`. Fields that
Twilio has no value for yet are null.

## When an action fails

The output's `error` has `error` (a code), `message` and `status` (Twilio's HTTP status; -200 where
it gave none, -400 for an unknown action or a fault of the connector). Map `error.error` and decide
by it:

| code | what to do |
|---|---|
| `INVALID_CONFIGURATION`, `INVALID_INPUT`, `UNKNOWN_ACTION` | Nothing was sent: correct it. |
| `CREDENTIALS_REFUSED`, `FORBIDDEN`, `NOT_FOUND`, `REFUSED` | Twilio said no; `message` says why. |
| `THROTTLED`, `NEVER_CONNECTED`, `UNAVAILABLE`, `NO_ANSWER` | May be tried again. |
| `OUTCOME_UNKNOWN` | **Never try again by itself**: the SMS may have been sent. |
| `INVALID_ANSWER`, `CONNECTOR_ERROR` | Ask whoever looks after the connector. |

The connector itself repeats what does no harm, at most `maxAttempts` times. Bizagi's automatic
retries of an asynchronous activity don't know the difference: switch them off for Send
SMS, or a send that was not answered goes out twice. On `OUTCOME_UNKNOWN` look for the message with
Get All SMS, or in the Twilio console, before it is sent again.

Give the activity more time than the connector may take, or it is given up while its SMS is still
being sent: each attempt waits up to `timeoutSeconds` for a connection and again for an answer, and
the pauses come to `timeoutSeconds` at most. That makes 385 seconds with 35 and 5. A long list may
take that for each 1000 messages.

## Line breaks and percent signs

Bizagi drops control characters, line breaks among them, from what it passes to a connector, and
then reads `%` and two hexadecimal digits (or `%u` and four) as one character. Write them so:

| to send | write |
|---|---|
| a line break | `%5Cn` |
| `%41`, and any `%` before two hexadecimal digits, or before `u` and four | `%2541` |
| a `%` before anything else, as in `100 % off` | as it is |
| `%22` | `%2522`; as it is, it would end the text, and the call is refused |

The same goes for the parameters, in `voice_url` above all, and those the host reads twice: for an
address with `%20` in it write `%252520`. An address without `%` avoids this.
"""


def _setting(entry: Mapping[str, Any]) -> str:
    kinds = ["required" if entry.get("required") else "optional"]
    kinds += ["secret"] if entry.get("secret") else []
    kinds += [f"{entry['default']} unless given"] if "default" in entry else []
    return f"- **{entry['name']}** ({', '.join(kinds)}): {entry['description']}"


def _described(
    schema: Mapping[str, Any], indent: str = "", required: Iterable[str] = ()
) -> Iterator[str]:
    names = {"string": "String", "number": "Double", "integer": "Integer", "boolean": "Boolean"}
    names |= {"date": "Date", "array": "collection of Object", "object": "Object"}
    for name, field in schema["properties"].items():
        kind = kind_of(field)
        said = field["description"].replace("RFC 2822, UTC", "UTC")
        needed = ", required" if name in required else ""
        yield f"{indent}- **{name}** ({names[kind]}{needed}): {said}"
        inner = field.get("items", {}) if kind == "array" else field
        if "properties" in inner:
            yield from _described(inner, indent + "  ")


def check(root: Path) -> list[Finding]:
    """Return everything that would make the package something else than documented."""
    findings: list[Finding] = []
    manifest = _json(root / "connector.json")
    wanted = {dash_case(action["name"]) for action in manifest["actions"]}
    present = {path.stem for path in (root / SOURCE / "actions").glob("*.js")}
    for name in sorted(wanted ^ present):
        said = "the action has no JavaScript: add it"
        if name in present:
            said = "no action is called so: declare it in connector.json or remove it"
        findings.append(fault("bizc-handler", f"{SOURCE.as_posix()}/actions/{name}.js", "", said))
    for name in sorted(name for name in wanted if not _DASH_CASE.fullmatch(name)):
        said = "it must be lower-case words with _ between them: Bizagi wants them dash-case"
        findings.append(fault("bizc-name", "connector.json", name, said))
    hints = f"{manifest['auth']}/hints.json"
    if not (root / hints).is_file():
        findings.append(fault("bizc-list", hints, "", "the JavaScript reads it: add it"))
    for path in sorted({a[key] for a in manifest["actions"] for key in ("input", "output")}):
        findings += _unfit(path, _json(root / path), "")
    if not findings:
        findings += [*_check_contents(root, manifest), *_check_modules(root, manifest)]
    return findings


def _unfit(file: str, schema: Mapping[str, Any], place: str) -> Iterator[Finding]:
    """Find what the JavaScript does not check, and what Bizagi has no type for."""
    for keyword in sorted(set(schema) - _CHECKED - _IGNORED):
        said = "the .bizc does not check it: add it to its schema.js, or do without"
        yield fault("bizc-keyword", file, f"{place}.{keyword}".lstrip("."), said)
    for name, field in schema.get("properties", {}).items():
        where = f"{place}.{name}".lstrip(".")
        kind = kind_of(field)
        if kind == "array":
            inner = field.get("items")
            kind = kind_of(inner) if isinstance(inner, dict) and "type" in inner else "array"
        if kind not in (*XSD_TYPES, "object"):
            said = (
                "Bizagi has no type for it: use text, a number, an object or a list of one of them"
            )
            yield fault("bizc-type", file, where, said)
        yield from _unfit(file, field, where)
    if isinstance(schema.get("items"), dict):
        yield from _unfit(file, schema["items"], f"{place}[]")


def _check_contents(root: Path, manifest: Mapping[str, Any]) -> Iterator[Finding]:
    files = contents(root)
    documented = {"bizagiRouter.js", "actions.js", "auth/auth.js", "etc/config.js", "etc/errors.js"}
    documented |= {"def/connector.json", "package.json", "README.md"}
    documented |= {f"actions/{dash_case(action['name'])}.js" for action in manifest["actions"]}
    modules = tuple(f"node_modules/{m}/" for m in (SHARED, OWN.format(name=manifest["name"])))
    listed = {name for name in files if not name.startswith(modules)}
    for name in sorted(documented - listed):
        yield fault("bizc-list", name, "", f"the archive lacks it: add it to {SOURCE.as_posix()}/")
    for name in sorted(listed - documented):
        yield fault("bizc-list", name, "", "the archive has no place for it: remove it")
    definition = json.loads(files["def/connector.json"])
    for action in definition["actions"]:
        for key, outermost in (("xsdinput", "inputs"), ("xsdoutput", "outputs")):
            xsd = base64.b64decode(action[key]).decode()
            for message in xsd_faults(xsd, outermost):
                yield fault("bizc-xsd", "def/connector.json", f"{action['name']}.{key}", message)
    try:
        icon = base64.b64decode(definition["icon"], validate=True)
    except binascii.Error:
        icon = b""
    if not icon.startswith(b"\x89PNG\r\n\x1a\n"):
        yield fault("bizc-icon", manifest["icon"], "", "it must be a PNG")


def _check_modules(root: Path, manifest: Mapping[str, Any]) -> Iterator[Finding]:
    """Check that the JavaScript finds what it requires, and has what is asked of it."""
    source, own = root / SOURCE, OWN.format(name=manifest["name"])
    files = contents(root)
    required = set()
    for path in sorted(filter(Path.is_file, source.rglob("*"))):
        name = path.relative_to(root).as_posix()
        packed = _packed_name(path.relative_to(source).as_posix(), own)
        if path.suffix != ".js":
            yield fault("bizc-list", name, "", "the archive takes JavaScript alone: remove it")
            continue
        text = path.read_text("utf-8")
        for wanted in re.findall(r"\brequire\(\s*['\"]([^'\"]+)", text):
            if wanted in _NODE:
                continue
            target = f"node_modules/{wanted}"
            if wanted.startswith("."):
                target = posixpath.normpath(posixpath.join(posixpath.dirname(packed), wanted))
            targets = {target, f"{target}.js"} & files.keys()
            required |= targets
            if not targets:
                said = f"it requires '{wanted}', which is neither in the package nor in Node.js"
                yield fault("bizc-require", name, "", f"{said}: add it or do without")
        if packed.startswith(("actions/", "auth/")) and not re.search(_INVOKE, text):
            said = "it must have 'exports.invoke = …', which the host calls: add it"
            yield fault("bizc-require", name, "invoke", said)
    for name in sorted(files.keys() - required):
        if name.startswith(f"node_modules/{own}/"):
            source_name = f"{SOURCE.as_posix()}/{name.removeprefix('node_modules/')}"
            yield fault("bizc-list", source_name, "", "nothing requires it: remove it")


def xsd_faults(text: str, outermost: str) -> Iterator[str]:
    """Find what is wrong with an XSD of the few forms that Bizagi's packages use."""
    try:
        schema = ET.fromstring(text)  # noqa: S314 - made by ourselves, a moment ago
    except ET.ParseError as error:
        yield f"it is not well-formed ({error})"
        return
    tag = f"{{{_XSD}}}"
    if schema.tag != f"{tag}schema" or [e.get("name") for e in schema] != [outermost]:
        yield f"it must be a schema of one element, '{outermost}'"
        return

    def faults(element: ET.Element, place: str) -> Iterator[str]:
        kind, children = element.get("type"), list(element)
        if element.tag != f"{tag}element":
            yield f"{place}: it must be an element"
        elif not re.fullmatch(r"[A-Za-z_][\w.-]*", element.get("name", "")):
            yield f"{place}: an element can't have this name"
        elif kind is not None:
            if children or kind not in XSD_TYPES.values():
                yield f"{place}: '{kind}' is no type for Bizagi"
        elif [e.tag for e in element.iter()][1:3] != [f"{tag}complexType", f"{tag}sequence"]:
            yield f"{place}: an object must be a complexType with a sequence"
        else:
            fields = list(children[0][0])
            names = [field.get("name") for field in fields]
            for name in sorted({str(n) for n in names if names.count(n) > 1}):
                yield f"{place}.{name}: it stands twice"
            for field in fields:
                yield from faults(field, f"{place}.{field.get('name')}")

    yield from faults(schema[0], outermost)


def _json(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


def _text(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
