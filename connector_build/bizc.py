"""Make the .bizc, the package that Bizagi Studio installs: a ZIP without a top folder.

The handlers and what they share are the connector's own, in `marketplace/bizagi/`. The JavaScript
that every connector shares is in `connector_build/bizagi/`. The rest comes from connector.json and
the schemas.
"""

from __future__ import annotations

import base64
import binascii
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

from . import listing
from .bizagi_facts import (
    AUTHENTICATION,
    DATATYPE,
    OUTSIDE,
    RUNTIME_VERSION,
    XSD_TYPES,
    codes,
    kind_of,
    options,
)
from .findings import Finding, fault
from .package import text_bytes

# Beside the handlers, the archive can hold shared modules only in node_modules.
SOURCE = Path("marketplace", "bizagi")
OWN = "{name}-connector"
SHARED = "bizagi-connector"
_HERE = Path(__file__).parent / "bizagi"

_XSD = "http://www.w3.org/2001/XMLSchema"
_TARGET = "http://tempuri.org/XMLSchema1.xsd"
_DASH_CASE = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
# Keywords that schema.js checks, and those that it may ignore.
_CHECKED = {"type", "required", "properties", "additionalProperties", "items", "pattern", "default"}
_CHECKED |= {"minLength", "maxLength", "minimum", "maximum", "x-mustBe"}
_NODE = {"fs", "http", "net", "path", "tls", "url", "zlib"}  # modules of Node.js that may be used
_INVOKE = r"\bexports\.invoke\b\s*="  # the function that the host calls in a handler
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
        "README.md": listing.readme(root, manifest),
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

    After a failure the output is empty, and after a success the error is empty, so every field of
    both may be missing.
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
    """Keep the keywords of a schema that validate, and mark the dates."""
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
    """Make etc/config.js, which the connector's log and Bizagi's utilities read."""
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


def check(root: Path) -> list[Finding]:
    """Return every fault of the package's sources."""
    findings: list[Finding] = []
    manifest = _json(root / "connector.json")
    wanted = {dash_case(action["name"]) for action in manifest["actions"]}
    present = {path.stem for path in (root / SOURCE / "actions").glob("*.js")}
    for name in sorted(wanted ^ present):
        said = "the action has no JavaScript: add it"
        if name in present:
            said = "no action has this name: declare it in connector.json or remove it"
        findings.append(fault("bizc-handler", f"{SOURCE.as_posix()}/actions/{name}.js", "", said))
    for name in sorted(name for name in wanted if not _DASH_CASE.fullmatch(name)):
        said = "it must be lower-case words with _ between them: Bizagi wants them dash-case"
        findings.append(fault("bizc-name", "connector.json", name, said))
    hints = f"{manifest['auth']}/hints.json"
    if not (root / hints).is_file():
        findings.append(fault("bizc-list", hints, "", "the JavaScript reads it: add it"))
    for path in sorted({a[key] for a in manifest["actions"] for key in ("input", "output")}):
        findings += _unfit(path, _json(root / path), "")
    texts = listing.check(root) if (root / "marketplace" / "listing").is_dir() else ()
    written = f"marketplace/listing/{listing.WRITTEN}.yaml"  # which the README comes from
    if not findings and not any(finding.file == written for finding in texts):
        findings += [*_check_contents(root, manifest), *_check_modules(root, manifest)]
    return findings


def _unfit(file: str, schema: Mapping[str, Any], place: str) -> Iterator[Finding]:
    """Find keywords that the JavaScript does not check, and fields that Bizagi has no type for."""
    for keyword in sorted(set(schema) - _CHECKED - _IGNORED):
        said = "the .bizc does not check it: add it to its schema.js, or leave it out"
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
    """Check that the JavaScript has all modules that it requires, and exports `invoke`."""
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
                yield fault("bizc-require", name, "", f"{said}: add it, or do not require it")
        if packed.startswith(("actions/", "auth/")) and not re.search(_INVOKE, text):
            said = "it must have 'exports.invoke = …', which the host calls: add it"
            yield fault("bizc-require", name, "invoke", said)
    for name in sorted(files.keys() - required):
        if name.startswith(f"node_modules/{own}/"):
            source_name = f"{SOURCE.as_posix()}/{name.removeprefix('node_modules/')}"
            yield fault("bizc-list", source_name, "", "nothing requires it: remove it")


def xsd_faults(text: str, outermost: str) -> Iterator[str]:
    """Find the faults of an XSD; only the forms that Bizagi's packages use are allowed."""
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
                yield f"{place}.{name}: it is declared twice"
            for field in fields:
                yield from faults(field, f"{place}.{field.get('name')}")

    yield from faults(schema[0], outermost)


def _json(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


def _text(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
