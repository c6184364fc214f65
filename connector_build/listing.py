"""The listing: what a marketplace shows of the connector, in every language it has texts for.

Whatever the manifest and the schemas say is taken from there; `listing/<language>.yaml` says the
rest and, but for English, translates what they say.
"""

from __future__ import annotations

import base64
import hashlib
import json
import string
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jinja2
import yaml
from markdown_it import MarkdownIt
from markupsafe import Markup

from connector_runtime import errors
from connector_runtime.schema import Schema

from .bizc import kind_of
from .changelog import changelog_date
from .findings import Finding, fault, of_schema, plain_place
from .package import text_bytes

LANGUAGES = ("en", "es")
WRITTEN = "en"  # the language of the manifest and the schemas
# What a text may hold in braces, filled in by the template.
_BLANKS = {"title": {"name"}, "labels.default": {"value"}}
_BLANKS |= {"using.one": set(), "using.many": {"count"}}
_TELLING_WORDS = 4  # fewer, such as one name, may be the same in two languages
_HERE = Path(__file__).parent


def listing(root: Path, package: str, content: bytes) -> dict[str, bytes]:
    """Return the listing's files by name, for the package file `package` with these bytes.

    `listing.json` has the fields of an Xchange item; the instructions are one HTML page a
    language, with everything in it. The same sources give the same bytes.
    """
    manifest = json.loads((root / "connector.json").read_bytes())
    icon = manifest["icon"].removesuffix(".png") + ".svg"
    texts = {code: _texts(root, code) for code in LANGUAGES}
    pages = {code: _page(root, manifest, code, texts[code]) for code in LANGUAGES}
    files = {f"instructions.{code}.html": page.encode() for code, page in pages.items()}
    files["icon.svg"] = text_bytes(root / icon)
    files["icon.png"] = (root / manifest["icon"]).read_bytes()
    item = {
        "guid": manifest["guid"],
        "name": manifest["displayName"],
        "version": manifest["version"],
        "updated": _updated(root, manifest),
        "author": manifest["author"],
        "homepage": manifest["homepage"],
        "costType": "free",
        "categories": manifest["categories"],
        "icon": "icon.svg",
        "gallery": ["icon.png"],
        "installFile": {
            "name": package,
            "bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
        },
        "languages": {
            code: {
                "name": manifest["displayName"],
                "overview": _plain(texts[code]["overview"][0]),
                "description": _translated(texts[code])(manifest["description"]),
                "detail": _detail(manifest, texts[code]),
                "instructions": f"instructions.{code}.html",
            }
            for code in LANGUAGES
        },
    }
    files["listing.json"] = json.dumps(item, indent=2, ensure_ascii=False).encode() + b"\n"
    return files


def _texts(root: Path, code: str) -> dict[str, Any]:
    text = (root / "marketplace" / "listing" / f"{code}.yaml").read_text("utf-8")
    found: dict[str, Any] = yaml.load(text, _Loader)  # noqa: S506 - it is the safe one
    return found


class _Loader(yaml.SafeLoader):
    """YAML's safe loader, but for a key that stands twice, of which that one keeps the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        for place, (key, _) in enumerate(node.value):
            if key.value in keys[:place]:
                raise yaml.constructor.ConstructorError(
                    problem="a key that stands twice", problem_mark=key.start_mark
                )
        return super().construct_mapping(node, deep)


def _updated(root: Path, manifest: Mapping[str, Any]) -> str | None:
    return changelog_date((root / "CHANGELOG.md").read_text("utf-8"), manifest["version"])


class _Markdown(MarkdownIt):
    """Markdown of which nothing is fetched: no pictures, and only links to https pages."""

    def validateLink(self, url: str) -> bool:
        return url.startswith("https://")


_MARKDOWN = _Markdown("commonmark", {"html": False}).disable("image")


def _markdown(text: str) -> Markup:
    """Render one line of Markdown; HTML in it is shown, not obeyed."""
    return Markup(_MARKDOWN.renderInline(text))  # noqa: S704 - the renderer escapes


def _plain(text: str) -> str:
    return _markdown(text).striptags()


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters["markdown"] = _markdown
    return environment


def _detail(manifest: Mapping[str, Any], texts: Mapping[str, Any]) -> str:
    """Return the item's detail, a fragment of HTML: the overview and what the actions do."""
    translated = _translated(texts)
    paragraphs = Markup("").join(
        Markup("<p>{}</p>").format(_markdown(each)) for each in texts["overview"]
    )
    actions = Markup("").join(
        Markup("<li><strong>{}</strong>: {}</li>").format(
            action["displayName"], translated(action["description"])
        )
        for action in manifest["actions"]
    )
    return str(Markup("{}<ul>{}</ul>").format(paragraphs, actions))


def _page(root: Path, manifest: Mapping[str, Any], code: str, texts: Mapping[str, Any]) -> str:
    words = _Words(texts)
    svg = text_bytes(root / (manifest["icon"].removesuffix(".png") + ".svg"))
    actions = [_action(root, manifest, action, words) for action in manifest["actions"]]
    count = len(actions)
    return (
        _environment()
        .get_template("instructions.html")
        .render(
            {
                **texts,
                "code": code,
                "title": texts["title"].format(name=manifest["displayName"]),
                "icon": f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}",
                "version": manifest["version"],
                "updated": _updated(root, manifest),
                "parameters": [words.setting(entry) for entry in manifest["parameters"]],
                "options": [words.setting(entry) for entry in manifest["options"]],
                "using": texts["using"]["one" if count == 1 else "many"].format(count=count),
                "actions": actions,
            }
        )
    )


def _action(
    root: Path, manifest: Mapping[str, Any], action: Mapping[str, Any], words: _Words
) -> dict[str, Any]:
    taken, given = (json.loads((root / action[way]).read_bytes()) for way in ("input", "output"))
    return {
        **action,
        "description": words.translated(action["description"]),
        "note": words.texts["notes"].get(action["name"]),
        "inputs": [*words.inputs(taken, action["globals"])],
        "outputs": [*words.fields(given)],
        "example_input": _json(_example(taken)),
        "example_output": _json(_example(given)),
    }


def _example(schema: Mapping[str, Any]) -> Any:
    """Return a schema's own example, or else put one together from those of the fields."""
    if "items" in schema:
        return [_example(schema["items"])]
    if "properties" in schema and "examples" not in schema:
        return {name: _example(field) for name, field in schema["properties"].items()}
    return schema["examples"][0]


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


class _Words:
    """One language's words for what the manifest and the schemas declare."""

    def __init__(self, texts: Mapping[str, Any]) -> None:
        self.texts = texts
        self.labels: Mapping[str, str] = texts["labels"]
        self.translated = _translated(texts)

    def setting(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        kinds = [
            self._type(entry),
            self.labels["required" if entry.get("required") else "optional"],
        ]
        if entry.get("secret"):
            kinds.append(self.labels["secret"])
        if "default" in entry:
            kinds.append(self.labels["default"].format(value=entry["default"]))
        return {
            "name": entry["name"],
            "kinds": kinds,
            "description": self.translated(entry["description"]),
        }

    def inputs(self, schema: Mapping[str, Any], names: Iterable[str]) -> Iterator[dict[str, Any]]:
        for entry in self.fields(schema):
            name = entry["name"]
            need = "required" if name in schema.get("required", ()) else "optional"
            if name in names and need == "required":
                need = "or_global"
            yield {**entry, "kinds": [entry["kinds"][0], self.labels[need]]}

    def fields(self, schema: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        for name, field in schema["properties"].items():
            kinds = [self._type(field)]
            if "null" in field["type"]:
                kinds.append(self.labels["may_be_empty"])
            inner = field.get("items", {}) if "items" in field else field
            yield {
                "name": name,
                "kinds": kinds,
                "description": self.translated(field["description"]),
                "fields": [*self.fields(inner)] if "properties" in inner else [],
            }

    def _type(self, field: Mapping[str, Any]) -> str:
        declared = field["type"]
        kinds = [declared] if isinstance(declared, str) else [k for k in declared if k != "null"]
        if kinds == ["string"]:
            kinds = [kind_of(field)]
        return f" {self.labels['or']} ".join(self.texts["types"][kind] for kind in kinds)


def _translated(texts: Mapping[str, Any]) -> Callable[[str], str]:
    """Return the function that translates what the manifest or a schema says."""
    if "translations" not in texts:
        return str
    known = {entry["of"]: entry["is"] for entry in texts["translations"]}
    return known.__getitem__


def check(root: Path) -> Iterator[Finding]:
    """Find what is missing or left over in the texts of any language.

    Needs a manifest and schemas without faults of their own, and texts in UTF-8.
    """
    manifest = json.loads((root / "connector.json").read_bytes())
    schema = Schema(json.loads((_HERE / "texts.json").read_bytes()))
    said = set(_said(root, manifest))
    usable: dict[str, dict[str, Any]] = {}
    for code in LANGUAGES:
        file = f"marketplace/listing/{code}.yaml"
        try:
            texts = _texts(root, code)
        except FileNotFoundError:
            yield fault("text-missing", file, "", "the listing needs it: add it")
            continue
        except yaml.YAMLError as error:
            yield fault("text-form", file, "", f"it is no YAML ({_line(error)}): mend it")
            continue
        except RecursionError:
            yield fault("text-form", file, "", "it is nested too deeply: make it flatter")
            continue
        except (ValueError, TypeError, LookupError, AttributeError):  # 2020-99-99, !!bool maybe
            message = "it holds a date, number or tag that can't be read: put such texts in quotes"
            yield fault("text-form", file, "", message)
            continue
        problems = [*of_schema("text-form", file, schema, texts)]
        yield from problems
        if not problems:
            usable[code] = texts
            yield from _notes(file, texts, manifest)
            yield from _blanks(file, texts)
            yield from _rendered(file, texts)
            yield from _translations(file, code, texts, said)
    for code in usable.keys() - {WRITTEN} if WRITTEN in usable else ():
        yield from _alike(f"marketplace/listing/{code}.yaml", usable[code], usable[WRITTEN])


def _line(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    if not mark:
        return "a character that it can't hold"
    return (
        f"line {mark.line + 1}: {getattr(error, 'problem', None) or 'something else is expected'}"
    )


def _strings(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str, str]]:
    """Give place and text of every text."""
    if isinstance(value, str):
        yield plain_place(path), value
    pairs = value.items() if isinstance(value, dict) else ()
    for key, inner in enumerate(value) if isinstance(value, list) else pairs:
        yield from _strings(inner, (*path, key))


def _rendered(file: str, texts: Mapping[str, Any]) -> Iterator[Finding]:
    for place, text in _strings(texts):
        if not text.strip():
            yield fault("text-form", file, place, "it is blank: say it")
        elif "](" in _plain(text) or "![" in text:
            message = "a picture, or a link that does not begin with https://: take it out"
            yield fault("text-form", file, place, message)


def _alike(file: str, texts: Mapping[str, Any], english: Mapping[str, Any]) -> Iterator[Finding]:
    """Find what was forgotten in one of two languages."""
    for key in ("overview", "before_you_start"):
        if len(texts[key]) != len(english[key]):
            message = f"it has {len(texts[key])} entries, in English {len(english[key])}"
            yield fault("text-form", file, key, f"{message}: make them the same")
    same = {text for _, text in _strings(english)}
    own = {key: value for key, value in texts.items() if key != "translations"}
    for place, text in _strings(own):
        if text in same and _is_telling(text):
            yield fault("text-missing", file, place, "it stands here in English: translate it")


def _notes(file: str, texts: Mapping[str, Any], manifest: Mapping[str, Any]) -> Iterator[Finding]:
    actions = {action["name"] for action in manifest["actions"]}
    for name in sorted(actions - texts["notes"].keys()):
        message = "say what a user of the action must know"
        yield fault("text-missing", file, f"notes.{name}", message)
    for name in sorted(texts["notes"].keys() - actions):
        message = "no action is called so: take it out"
        yield fault("text-stale", file, f"notes.{name}", message)
    codes = {code for row in texts["failing"]["codes"] for code in row["code"].split(", ")}
    known = _codes() - {"INVALID_PACKAGE"}  # that one an engine meets, before any process
    for code in sorted(known - codes):
        message = "say what to do about this error"
        yield fault("text-missing", file, f"failing.codes: {code}", message)
    for code in sorted(codes - known):
        message = "no error has this code: take it out"
        yield fault("text-stale", file, f"failing.codes: {code}", message)


def _codes() -> set[str]:
    """Return the runtime's own codes; programs that embed it derive others."""
    declared = (each for each in vars(errors).values() if isinstance(each, type))
    kinds = (each for each in declared if issubclass(each, errors.ConnectorError))
    return {kind.code for kind in kinds if kind is not errors.ConnectorError}


def _blanks(file: str, texts: Mapping[str, Any]) -> Iterator[Finding]:
    for place, wanted in _BLANKS.items():
        text: Any = texts
        for key in place.split("."):
            text = text[key]
        try:
            parts = [each for each in string.Formatter().parse(text) if each[1] is not None]
            found = {name if not (how or kind) else "?" for _, name, how, kind in parts}
        except ValueError:
            found = {"?"}
        if found != wanted:
            names = ", ".join(f"{{{name}}}" for name in sorted(wanted))
            held = f"{names} and no other" if wanted else "nothing in braces"
            yield fault("text-form", file, place, f"it must hold {held}")


def _translations(
    file: str, code: str, texts: Mapping[str, Any], said: set[str]
) -> Iterator[Finding]:
    listed = [entry["of"] for entry in texts.get("translations", ())]
    for text in sorted(set(listed) - said if code != WRITTEN else set(listed)):
        message = "nothing in connector.json and the schemas says this any more: take it out"
        yield fault("text-stale", file, f"translations: {_short(text)}", message)
    for entry in texts.get("translations", ()):
        plain = " ".join(entry["of"].split())
        if " ".join(entry["is"].split()) == plain and _is_telling(plain):
            message = "its translation is the English text: translate it"
            yield fault("text-missing", file, f"translations: {_short(plain)}", message)
    for text in sorted({each for each in listed if listed.count(each) > 1}):
        message = "it is translated twice: keep one"
        yield fault("text-stale", file, f"translations: {_short(text)}", message)
    for text in sorted(said - set(listed)) if code != WRITTEN else ():
        message = "it is not translated: add it"
        yield fault("text-missing", file, f"translations: {_short(text)}", message)


def _is_telling(text: str) -> bool:
    """Tell whether no two languages would say it alike: it is more than names and codes."""
    return sum(not word.isupper() for word in text.split()) >= _TELLING_WORDS


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:59]}…"


def _said(root: Path, manifest: Mapping[str, Any]) -> Iterator[str]:
    """Give every description that the listing shows."""
    yield manifest["description"]
    for entry in [*manifest["parameters"], *manifest["options"], *manifest["actions"]]:
        yield entry["description"]
    for action in manifest["actions"]:
        for way in ("input", "output"):
            yield from _described(json.loads((root / action[way]).read_bytes()))


def _described(schema: Mapping[str, Any]) -> Iterator[str]:
    for field in schema.get("properties", {}).values():
        yield field["description"]
        yield from _described(field)
        if isinstance(field.get("items"), dict):
            yield from _described(field["items"])
