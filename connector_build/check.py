"""The checks before a build. They read; nothing of the connector is imported or run.

One function a concern; each adds to one list, so that the author sees every fault at once.
"""

from __future__ import annotations

import ast
import functools
import importlib.metadata
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from connector_runtime import archive
from connector_runtime.schema import Schema, reference_engine

from . import bizc, icons, imports, listing, package
from .changelog import changelog_date
from .findings import TIERS, Finding, fault, of_schema, plain_place

_VERSION = re.compile(  # semver.org, without build metadata: a package's name could not carry it
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)"
    r"(-(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(\.(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*)?"
)
_SECRET_NAME = re.compile(
    r"(?i:token|secret|passw|passphrase|passcode|credential|bearer|jwt|pwd|key$)"
    r"|(?i:(?<![a-z])(?:pin|pass)(?![a-z]))|(?<=[a-z0-9])(?:Pin|Pass)(?![a-z])"
)
# The group, where there is one, is what has many different letters if it was ever given out.
_START, _END = r"(?<![0-9A-Za-z])", r"(?![0-9A-Za-z])"
_CREDENTIALS = {
    "a SID that looks real": re.compile(rf"{_START}[A-Z]{{2}}([0-9A-Fa-f]{{32}}){_END}"),
    "32 hexadecimal digits, as a token has": re.compile(rf"{_START}([0-9A-Fa-f]{{32}}){_END}"),
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    "an Authorization header": re.compile(
        r"\b(?:(?:Basic|Bearer) |(?i:basic|bearer) +(?=\S*[0-9]))([A-Za-z0-9+/_.=~-]{20,})"
    ),
    "a URL with a password": re.compile(
        r"\b[A-Za-z][A-Za-z0-9+.-]*://[^\s/:@\"'<>]*:[^\s/@\"'<>]+@"
    ),
    "an access key": re.compile(
        rf"{_START}(?:AKIA|AIza|SG\.|gh[oprsu]_|github_pat_|xox[abeprs]-|[rs]k_live_)"
        r"([A-Za-z0-9_.-]{12,})"
    ),
    "a signed token": re.compile(rf"{_START}eyJ([\w-]{{8,}}\.[\w-]{{8,}}\.[\w-]{{8,}})"),
}
_NUMBER = re.compile(r"\+[1-9][0-9]{7,14}\b")
_MADE_UP = re.compile(r"\+1500555000[0-9]|\+1[0-9]{3}55501[0-9]{2}")  # Twilio's, and 555-01xx
_LEFTOVERS = {
    "a note to do something": re.compile(r"\b(?:TODO|FIXME|XXX|HACK|TBD)\b|\b(?i:todo|fixme)\s*:"),
    "a placeholder": re.compile(
        r"(?i:lorem ipsum|\bchange[-_ ]?me\b|\breplace[-_ ]me\b|<(?:your|insert)[-_ ][^>]*>)"
        r"|\bYOUR(?:_[A-Z]+)+\b|\b(?i:your[-_](?:[a-z]+[-_])+here)\b"
    ),
    "a path of somebody's machine": re.compile(
        r"(?<![\w.])/(?:home|Users|root|tmp|work|mnt|(?:private/)?(?:var/folders|tmp))/[\w.-]"
        r"|\b[A-Za-z]:\\+Users\\|\b[A-Z]:\\{1,2}(?!Windows\b|Program)\w[\w .-]+\\"
    ),
}
# With one of these, what is made from manifest and schemas can't be made, nor checked.
_UNREADABLE = {"file-missing", "json", "text-encoding", "schema-missing", "schema-invalid", "icon"}
_UNREADABLE |= {"schema-strict", "field-description", "field-example"}
_DIALECT = "https://json-schema.org/draft/2020-12/schema"
# What the texts of connector.json that have a pattern must be, in words.
_WORD = "lower-case letters and digits, a letter first, with _ between words"
FORMS = {
    "guid": "a GUID in lower case, such as 01234567-89ab-4cde-8f01-23456789abcd",
    "name": f"{_WORD}, as in twilio",
    "parameters.name": "letters, digits and _, a letter first, as in accountId",
    "options.name": "letters, digits and _, a letter first, as in timeoutSeconds",
    "actions.name": f"{_WORD}, as in send_sms",
    "auth": f"a folder's name: {_WORD}",
    "version": "a semantic version, such as 1.0.0",
    "runtime": "a range of versions of connector_runtime, such as >=1.0,<2",
    "homepage": "an address that begins with https:// and has no spaces",
    "documentation": "an address that begins with https:// and has no spaces",
    "icon": "the name of a PNG: lower-case letters, digits, - and _, then .png",
    "handler": "a module among the actions, such as actions/send_sms.py",
    "input": "a schema's name, such as schemas/send_sms.input.json",
    "output": "a schema's name, such as schemas/send_sms.output.json",
}
_WORDS = {"title", "description", "$comment", "examples", "x-mustBe", "default"}  # judge nothing
_LISTED_CHARACTERS = 160


class Tree(NamedTuple):
    """The source tree: its folder, the files that would be packaged, and what could be decoded."""

    root: Path
    files: dict[str, bytes]
    documents: dict[str, Any]

    @property
    def manifest(self) -> dict[str, Any]:
        found: dict[str, Any] = self.documents["connector.json"]
        return found

    def schemas(self) -> Iterator[tuple[str, Any, dict[str, Any]]]:
        """Give file, schema and action of every action schema that there is."""
        for action in self.manifest["actions"]:
            for name in (action["input"], action["output"]):
                if name in self.documents:
                    yield name, self.documents[name], action


def check(root: Path) -> list[Finding]:
    """Return every fault of the source tree, the worst first."""
    found = list(_missing(root))
    present = {PurePosixPath(finding.file).as_posix() for finding in found}
    files = {
        name: package.text_bytes(root / name) for name in package.names(root) if name not in present
    }
    tree = Tree(root, files, {})
    for concern in (_json, _stray, _sizes, _texts, _requirements, _code):
        found += concern(tree)
    if "connector.json" in tree.documents:
        faults = list(_manifest(tree))
        found += faults
        if not any(finding.rule == "manifest" for finding in faults):
            for concern in (
                _files,
                _handlers,
                _schemas,
                _globals,
                _secrets,
                _version,
                _icon,
                _tests,
            ):
                found += concern(tree)
            if not any(finding.rule in _UNREADABLE for finding in found):
                found += [*bizc.check(root), *listing.check(root)]
    return sorted(found, key=lambda finding: (TIERS.index(finding.tier), finding[2:4], finding[1]))


def _missing(root: Path) -> Iterator[Finding]:
    for name in (*package.CONTENTS, "pyproject.toml"):
        if not (root / name).is_file():
            yield fault("file-missing", name, "", "the package needs it: add it")


def _json(tree: Tree) -> Iterator[Finding]:
    for name, content in tree.files.items():
        if not name.endswith(".json"):
            continue
        twice: list[str] = []

        def unique(pairs: list[tuple[str, Any]], twice: list[str] = twice) -> dict[str, Any]:
            names = [key for key, _ in pairs]
            twice += sorted({key for key in names if names.count(key) > 1})
            return dict(pairs)

        try:
            document = json.loads(
                content.decode("utf-8"), object_pairs_hook=unique, parse_constant=_refuse_constant
            )
        except UnicodeDecodeError:
            continue  # `_texts` reports it
        except (ValueError, RecursionError) as error:
            yield fault("json", name, "", f"it is not valid JSON ({error}): correct it")
            continue
        # Half a character, a number beyond all bounds or a nest of lists breaks what goes by it.
        faults = [*of_schema("json", name, Schema({}), document)]
        yield from faults
        if not faults:
            tree.documents[name] = document
        for key in twice:
            yield fault("json-duplicate-key", name, key, "the key is declared twice: keep one")


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is Python's, not JSON's")


def _stray(tree: Tree) -> Iterator[Finding]:
    for folder in package.FOLDERS:
        for path in sorted((tree.root / folder).rglob("*")):
            name = path.relative_to(tree.root).as_posix()
            if not path.is_file() or name in tree.files or "__pycache__" in name:
                continue
            if path.name == "py.typed":  # for those who install the runtime
                continue
            if folder == "actions" and path.suffix == ".py":
                message = "no action can declare it there: move it into actions/ or remove it"
                yield fault("handler-undeclared", name, "", message)
            else:
                yield fault("file-stray", name, "", "it is not packaged: move it elsewhere")


def _sizes(tree: Tree) -> Iterator[Finding]:
    for name, content in tree.files.items():
        if not archive.ALLOWED.fullmatch(name):
            yield fault("file-name", name, "", "a package has no such name: rename it")
        if len(content) > archive.MOST_BYTES_OF_A_MEMBER:
            limit = archive.MOST_BYTES_OF_A_MEMBER
            yield fault("size", name, "", f"it is larger than {limit:,} bytes: make it smaller")
    total = sum(map(len, tree.files.values()))
    if total > archive.MOST_BYTES or len(tree.files) > archive.MOST_MEMBERS - 3:
        said = f"{len(tree.files)} files of {total:,} bytes are more than a package may hold"
        yield fault("size", "(package)", "", f"{said}: leave something out")


def _texts(tree: Tree) -> Iterator[Finding]:
    also = [
        *(tree.root / "marketplace").rglob("*.js"),
        *(tree.root / "marketplace").rglob("*.yaml"),
    ]
    also += tree.root.glob("*.svg")
    beside = {path.relative_to(tree.root).as_posix(): path.read_bytes() for path in sorted(also)}
    for name, content in {**tree.files, **beside}.items():
        if name.endswith(".png"):
            for line in icons.png_texts(content):
                yield from _line(name, "text in the picture", line)
            continue
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError:
            yield fault("text-encoding", name, "", "it is no UTF-8 text: save it as UTF-8")
            continue
        for number, line in enumerate(text.splitlines(), 1):
            yield from _line(name, f"line {number}", line)


def _line(name: str, place: str, line: str) -> Iterator[Finding]:
    for what, pattern in _CREDENTIALS.items():
        if any(_looks_real(match) for match in pattern.finditer(line)):
            message = f"{what}: take it out, and withdraw it if it was real"
            yield fault("credential", name, place, message)
    for what, pattern in _LEFTOVERS.items():
        if pattern.search(line):
            yield fault("leftover", name, place, f"{what}: settle it or take it out")
    for match in _NUMBER.finditer(line):
        if not _MADE_UP.fullmatch(match[0]):
            message = "a phone number that may be somebody's: use one of Twilio's test numbers"
            yield fault("phone-number", name, place, message)


def _looks_real(match: re.Match[str]) -> bool:
    """Pass what nobody was ever given, such as ACaaaa…: a real one has many different digits."""
    return not match.groups() or len(set(match[1].lower())) > 6


def _requirements(tree: Tree) -> Iterator[Finding]:
    name = "pyproject.toml"
    if not (tree.root / name).is_file():
        return
    try:
        declared = [Requirement(line) for line in _declared(tree.root)[0]]
    except ValueError as error:
        yield fault(
            "requirement", name, "", f"its requirements can't be read ({error}): correct it"
        )
        return
    for line in map(str, declared):
        for what, pattern in _CREDENTIALS.items():
            if any(_looks_real(match) for match in pattern.finditer(line)):
                message = f"{what}: take it out, and withdraw it if it was real"
                yield fault("credential", name, "dependencies", message)
    for requirement in declared:
        operators = {specifier.operator for specifier in requirement.specifier}
        if not operators & {">=", ">", "~=", "=="} or not operators & {"<", "<=", "~=", "=="}:
            message = f"'{requirement.name}' needs a range, such as >=2.1,<3"
            yield fault("requirement-range", name, "dependencies", message)


def _declared(root: Path) -> tuple[list[str], list[str]]:
    """Return the requirements, and those of the extras. Raise ValueError."""
    try:
        found = package.requirements(root), package.requirements(root, extras=True)
        for line in (*found[0], *found[1]):
            Requirement(line)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("it has no [project] with lists of them") from error
    return found


def _code(tree: Tree) -> Iterator[Finding]:
    try:
        required, optional = map(_import_names, _declared(tree.root))
        known = True
    except (OSError, ValueError):  # `_missing` or `_requirements` reports it
        required, optional, known = set(), set(), False
    allowed = {*sys.stdlib_module_names, *required}
    for name, content in tree.files.items():
        if not name.endswith(".py"):
            continue
        try:
            module = imports.parse(content, name)
        except ValueError as error:
            yield fault("handler-syntax", name, str(error), "it is not valid Python: correct it")
            continue
        for found in imports.imports(module):
            top = found.module.split(".")[0]
            own = imports.missing(found, name, tree.files)
            if own:
                message = f"it imports '{own}', which is not in the package: add it or correct it"
                yield fault("import-outside", name, f"line {found.line}", message)
            declared = top in allowed or (found.guarded and top in optional)
            if own is None and known and not declared:
                message = (
                    f"it imports '{found.module}', which is neither in the package, nor in the "
                    "standard library, nor a declared requirement: declare it or do without"
                )
                yield fault("import-outside", name, f"line {found.line}", message)


def _import_names(requirements: Iterable[str]) -> set[str]:
    """Return the modules that requirements bring, by their own metadata where installed."""
    declared = {canonicalize_name(Requirement(line).name) for line in requirements}
    return {
        module
        for module, distributions in _installed().items()
        if any(canonicalize_name(name) in declared for name in distributions)
    } | {name.replace("-", "_") for name in declared}


@functools.cache  # to read it takes longer than all else of a check
def _installed() -> Mapping[str, list[str]]:
    return importlib.metadata.packages_distributions()


def _manifest(tree: Tree) -> Iterator[Finding]:
    name = "connector.json"
    own = Path(archive.__file__).with_name("manifest.json")
    schema = Schema(json.loads(own.read_bytes()))
    problems = [*of_schema("manifest", name, schema, tree.manifest, FORMS)]
    yield from problems
    copy = tree.files.get("schemas/manifest.json")
    if copy != tree.files.get("connector_runtime/manifest.json"):
        message = "it differs from connector_runtime/manifest.json: make them the same"
        yield fault("manifest-schema-copy", "schemas/manifest.json", "", message)
    if problems:
        return
    settings = [*tree.manifest["parameters"], *tree.manifest["options"]]
    for entries in (settings, tree.manifest["actions"]):
        names = [entry["name"] for entry in entries]
        for twice in sorted({each for each in names if names.count(each) > 1}):
            yield fault("name-twice", name, twice, "it is declared twice: rename one")
    if len(tree.manifest["description"]) > _LISTED_CHARACTERS:
        message = f"a listing shows {_LISTED_CHARACTERS} characters of it: shorten it"
        yield fault("description-long", name, "description", message)
    for entry in settings:
        facets = ("type", "pattern", "minimum", "maximum")
        facet_schema = {key: entry[key] for key in facets if key in entry}
        yield from _field(
            name,
            entry["name"],
            {
                **facet_schema,
                "description": entry["description"],
                "examples": [entry["example"]],
                "x-mustBe": entry.get("mustBe"),
                **{key: entry[key] for key in ("default",) if key in entry},
            },
        )


def _files(tree: Tree) -> Iterator[Finding]:
    declared = {"handler": set[str](), "schema": set[str]()}
    for action in tree.manifest["actions"]:
        wanted = {
            "handler": [(f"actions/{action['name']}.py", action["handler"])],
            "schema": [
                (f"schemas/{action['name']}.{way}.json", action[way]) for way in ("input", "output")
            ],
        }
        for kind, pairs in wanted.items():
            for expected, name in pairs:
                declared[kind].add(name)
                if name not in tree.files:
                    message = f"action '{action['name']}' declares it and it is missing: add it"
                    yield fault(f"{kind}-missing", name, "", message)
                elif name != expected:
                    message = f"it belongs to action '{action['name']}': call it {expected}"
                    yield fault(f"{kind}-name", name, "", message)
    for name in tree.files:
        folder, _, file = name.partition("/")
        if folder == "actions" and not file.startswith("_") and name not in declared["handler"]:
            message = "no action declares it: declare it in connector.json or remove it"
            yield fault("handler-undeclared", name, "", message)
        own = name == "schemas/manifest.json"
        if folder == "schemas" and not own and name not in declared["schema"]:
            message = "no action declares it: declare it in connector.json or remove it"
            yield fault("schema-undeclared", name, "", message)


def _handlers(tree: Tree) -> Iterator[Finding]:
    wanted = {action["handler"]: ("run",) for action in tree.manifest["actions"]}
    auth = f"{tree.manifest['auth']}/__init__.py"
    for name, functions in ({**wanted, auth: ("connect", "check")}).items():
        if name not in tree.files:
            if name == auth:
                yield fault(
                    "handler-missing", name, "", "'auth' declares it and it is missing: add it"
                )
            continue
        try:
            module = imports.parse(tree.files[name], name)
        except ValueError:
            continue  # `_code` reports it
        there = {node.name for node in module.body if isinstance(node, ast.FunctionDef)}
        for missing in sorted(set(functions) - there):
            yield fault("handler-run", name, missing, f"it has no function '{missing}': add it")


def _schemas(tree: Tree) -> Iterator[Finding]:
    for name, schema, action in tree.schemas():
        try:
            if not isinstance(schema, dict):
                raise ValueError("not an object")
            reference_engine(schema)
        except ValueError as error:
            message = f"it is no JSON Schema of 2020-12 ({error}): correct it"
            yield fault("schema-invalid", name, "", message)
            continue
        faults = [*_strict(name, (), schema)]
        yield from faults
        examples = [] if faults else schema.get("examples", [])
        if any(Schema(schema).problems(example) for example in examples):
            yield fault("field-example", name, "examples", "one does not validate: mend it")
        identifier = action.get("identifier", "")
        if name == action["output"] and identifier not in {"", *_inside(schema, "properties")}:
            message = f"'identifier' of {action['name']} must name a field in it"
            yield fault("identifier", name, identifier, message)
        if name == action["output"] and action.get("streams"):
            items = _inside(_inside(_inside(schema, "properties"), action["streams"]), "items")
            unknown = set(action.get("summary", ())) - set(_inside(items, "properties"))
            if not items:
                message = f"'streams' of {action['name']} must name a list in it"
                yield fault("streams", name, action["streams"], message)
            elif unknown:
                message = f"'summary' of {action['name']} names what is not in it: take it out"
                yield fault("streams", name, ", ".join(sorted(unknown)), message)


def _inside(schema: Any, key: str) -> dict[str, Any]:
    """Return what is under a key of a schema, or nothing where that is no object."""
    found = schema.get(key) if isinstance(schema, dict) else None
    return found if isinstance(found, dict) else {}


def _strict(name: str, path: tuple[str | int, ...], schema: Mapping[str, Any]) -> Iterator[Finding]:
    where = plain_place(path)
    if not path and schema.get("$schema") != _DIALECT:
        message = f"it must say which JSON Schema it is: give it '$schema': '{_DIALECT}'"
        yield fault("schema-strict", name, "$schema", message)
    if not path and schema.get("type") != "object":
        message = "an action takes and gives an object: the schema's 'type' must be 'object'"
        yield fault("schema-strict", name, "type", message)
    if not path or "object" in schema.get("type", ()) or "properties" in schema:
        if schema.get("additionalProperties") is not False or "properties" not in schema:
            message = "an object must list its 'properties' and forbid 'additionalProperties'"
            yield fault("schema-strict", name, where, message)
        for key in sorted(set(schema.get("required", ())) - set(schema.get("properties", ()))):
            message = f"'{key}' is required and no property: declare it or take it out"
            yield fault("schema-strict", name, f"{where}.required".lstrip("."), message)
        for key, field in schema.get("properties", {}).items():
            if not isinstance(field, dict) or "type" not in field:
                message = "a field must be an object that says its 'type'"
                yield fault("schema-strict", name, plain_place((*path, key)), message)
                continue
            yield from _field(name, plain_place((*path, key)), field)
            yield from _strict(name, (*path, key), field)
    if isinstance(schema.get("items"), dict):
        yield from _strict(name, (*path, 0), schema["items"])


def _field(name: str, place: str, field: Mapping[str, Any]) -> Iterator[Finding]:
    if not str(field.get("description", "")).strip():
        yield fault("field-description", name, place, "it has no description: say what it is")
    examples = field.get("examples", [])
    if not examples:
        yield fault("field-example", name, place, "it has no example: give one that validates")
    rules = {key: value for key, value in field.items() if key not in ("description", "examples")}
    try:
        schema = Schema({key: value for key, value in rules.items() if value is not None})
    except ValueError:
        message = "its rules are no schema by themselves: correct the pattern, or do without '$ref'"
        yield fault("schema-invalid", name, place, message)
        return
    for example in examples:
        if schema.problems(example):
            yield fault("field-example", name, place, "an example of it does not validate: mend it")
    if "default" in field and schema.problems(field["default"]):
        yield fault("field-default", name, place, "its default does not validate: mend it")
    if "pattern" in field:
        if not field.get("x-mustBe"):
            message = "say with 'x-mustBe' what it must be, or users read a regular expression"
            yield fault("field-words", name, place, message)
        pattern = str(field["pattern"])
        # An output's pattern may be open at its end, where 'maxLength' closes it.
        if pattern.endswith("$") and not pattern.endswith(r"\$"):
            message = r"Python's $ lets a trailing line break pass: end the pattern in $(?!\n)"
            yield fault("pattern-newline", name, place, message)


def _globals(tree: Tree) -> Iterator[Finding]:
    parameters = {entry["name"]: entry for entry in tree.manifest["parameters"]}
    for number, action in enumerate(tree.manifest["actions"]):
        if action["input"] in tree.files and action["input"] not in tree.documents:
            continue  # `_json` or `_texts` reports it
        fields = _inside(tree.documents.get(action["input"]), "properties")
        for name in action["globals"]:
            place = f"actions[{number}].globals"
            if not parameters.get(name, {}).get("global"):
                message = f"'{name}' is no global parameter: declare it, or take it out"
                yield fault("global-unknown", "connector.json", place, message)
            elif name not in fields:
                message = f"'{name}' is no input of {action['name']}: add it to {action['input']}"
                yield fault("global-input", "connector.json", place, message)
            elif not _agree(parameters[name], _inside(fields, name)):
                message = f"'{name}' has other rules as parameter than as input: make them agree"
                yield fault("global-input", action["input"], name, message)


def _agree(parameter: Mapping[str, Any], field: Mapping[str, Any]) -> bool:
    facets = {"type", "pattern", "minimum", "maximum", *field} - _WORDS
    return all(parameter.get(facet) == field.get(facet) for facet in facets)


def _secrets(tree: Tree) -> Iterator[Finding]:
    for entry in [*tree.manifest["parameters"], *tree.manifest["options"]]:
        if _SECRET_NAME.search(entry["name"]) and not entry.get("secret"):
            message = "its name says that it is a secret: make it a parameter with 'secret': true"
            yield fault("secret-plain", "connector.json", entry["name"], message)
    for file, schema, action in tree.schemas():
        for place, name in _names((), schema):
            if _SECRET_NAME.search(name):
                message = "its name says that it is a secret, which no output may hold: take it out"
                if file == action["input"]:
                    message = (
                        "its name says that it is a secret, and an input is kept by the process: "
                        "make it a parameter with 'secret': true"
                    )
                yield fault("secret-plain", file, plain_place(place), message)


def _names(path: tuple[str | int, ...], schema: Any) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Give the place and name of every field."""
    for key, field in _inside(schema, "properties").items():
        yield (*path, key), key
        yield from _names((*path, key), field)
    if _inside(schema, "items"):
        yield from _names((*path, 0), schema["items"])


def _version(tree: Tree) -> Iterator[Finding]:
    version = tree.manifest["version"]
    if not _VERSION.fullmatch(version):
        message = f"'{version}' is no semantic version: correct it"
        yield fault("version", "connector.json", "version", message)
        return
    if (
        changelog_date(tree.files.get("CHANGELOG.md", b"").decode("utf-8", "replace"), version)
        is None
    ):
        message = f"it needs a heading '## [{version}] - ' and the date, as in 2026-01-31"
        yield fault("changelog", "CHANGELOG.md", "", message)


def _icon(tree: Tree) -> Iterator[Finding]:
    name = tree.manifest["icon"]
    svg = name.removesuffix(".png") + ".svg"
    if (tree.root / svg).is_file():
        for message in icons.svg_faults(package.text_bytes(tree.root / svg)):
            yield fault("icon", svg, "", message)
    else:
        yield fault("icon", svg, "", "the listing needs the icon as SVG too: add it")
    content = tree.files.get(name)
    if content is not None:
        for message in icons.png_faults(content):
            yield fault("icon", name, "", message)
    elif name not in package.CONTENTS:
        yield fault("icon", name, "", f"the package holds {package.CONTENTS[1]}: use that name")


def _tests(tree: Tree) -> Iterator[Finding]:
    for action in tree.manifest["actions"]:
        name = f"tests/actions/test_{action['name']}.py"
        if not (tree.root / name).is_file():
            yield fault("test-missing", name, "", f"nothing tests '{action['name']}': add it")


def as_json(findings: Iterable[Finding]) -> str:
    """Write the findings as JSON, for editors and pipelines."""
    return json.dumps([finding._asdict() for finding in findings], indent=2, ensure_ascii=False)
