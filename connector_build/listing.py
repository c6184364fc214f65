"""The listing: what a marketplace shows of the connector, in every language it has texts for.

Texts of the manifest and the schemas are used as they are. `listing/<language>.yaml` has all other
texts and, except for English, the translations of theirs.
"""

from __future__ import annotations

import base64
import datetime
import email.utils
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import yaml
from markdown_it import MarkdownIt
from markupsafe import Markup

from connector_runtime.schema import Schema

from . import bizagi_facts as bizagi
from .changelog import changelog_date
from .findings import Finding, fault, of_schema, plain_place
from .package import text_bytes

LANGUAGES = ("en", "es")
WRITTEN = "en"  # the language of the manifest and the schemas
# What a text may hold in braces, filled in by the template.
_TELLING_WORDS = 4  # fewer, such as one name, may be the same in two languages
_HERE = Path(__file__).parent


class File(NamedTuple):
    """A file that the listing offers: its name and its bytes."""

    name: str
    content: bytes

    def described(self) -> dict[str, Any]:
        digest = hashlib.sha256(self.content).hexdigest()
        return {"name": self.name, "bytes": len(self.content), "sha256": digest}


def listing(root: Path, install: File, python: File | None) -> dict[str, bytes]:
    """Return the listing's files by name, for the file to install and the package for Python.

    `listing.json` has the fields of an Xchange item; the instructions are one HTML page a
    language, with everything in it. The same sources give the same bytes.
    """
    manifest = json.loads((root / "connector.json").read_bytes())
    icon = manifest["icon"].removesuffix(".png") + ".svg"
    texts = {code: _texts(root, code) for code in LANGUAGES}
    pages = {code: _page(root, manifest, code, install.name) for code in LANGUAGES}
    files = {f"instructions.{code}.html": page.encode() for code, page in pages.items()}
    files["icon.svg"] = text_bytes(root / icon)
    files["icon.png"] = (root / manifest["icon"]).read_bytes()
    gallery = {f"gallery/{path.name}": path.read_bytes() for path in _gallery(root)}
    files |= gallery
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
        "gallery": [*gallery] or ["icon.png"],
        "installFile": install.described(),
        **({"pythonPackage": python.described()} if python else {}),
        "languages": {
            code: {
                "name": manifest["displayName"],
                "overview": _plain(texts[code]["overview"][0]),
                "description": _translated(texts[code])(manifest["description"]),
                "detail": _detail(manifest, texts[code]),
                "categories": [
                    _category(texts[code], category) for category in manifest["categories"]
                ],
                "costType": texts[code]["cost"],
                "instructions": f"instructions.{code}.html",
            }
            for code in LANGUAGES
        },
    }
    files["listing.json"] = json.dumps(item, indent=2, ensure_ascii=False).encode() + b"\n"
    return files


def readme(root: Path, manifest: Mapping[str, Any]) -> str:
    """Return the README of the .bizc: the English instructions as Markdown."""
    file = f"{manifest['name']}-{manifest['version']}.bizc"
    known = (root / "marketplace" / "listing" / f"{WRITTEN}.yaml").is_file()
    context = _context(root, manifest, WRITTEN, file, None if known else _EMPTY)
    return environment(is_html=False).get_template("readme.md").render(context)


# For a connector without texts of its own.
_EMPTY: dict[str, Any] = {
    **{name: [] for name in ("overview", "disclaimer", "requirements", "before_you_start")},
    "notes": {},
    "failing": {"codes": []},
    "title": "{name}",
}


def _gallery(root: Path) -> list[Path]:
    return sorted((root / "marketplace" / "gallery").glob("*.png"))


def _category(texts: Mapping[str, Any], name: str) -> str:
    return str(texts.get("categories", {}).get(name, name))


def _texts(root: Path, code: str) -> dict[str, Any]:
    return _yaml((root / "marketplace" / "listing" / f"{code}.yaml").read_text("utf-8"))


@lru_cache(maxsize=16)  # a build needs each file several times
def _yaml(text: str) -> dict[str, Any]:
    """Return what YAML holds, which nobody may change."""
    document: dict[str, Any] = yaml.load(text, _Loader)  # noqa: S506 - it is the safe one
    return document


class _Loader(yaml.SafeLoader):
    """YAML's safe loader, but it refuses a key that is declared twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        for place, (key, _) in enumerate(node.value):
            if key.value in keys[:place]:
                raise yaml.constructor.ConstructorError(
                    problem="a key that is there twice", problem_mark=key.start_mark
                )
        return super().construct_mapping(node, deep)


def _updated(root: Path, manifest: Mapping[str, Any]) -> str | None:
    return changelog_date((root / "CHANGELOG.md").read_text("utf-8"), manifest["version"])


class _Markdown(MarkdownIt):
    """Markdown of which nothing is fetched: no pictures, and only links to https pages."""

    def validateLink(self, url: str) -> bool:
        return url.startswith("https://")


_MARKDOWN = _Markdown("commonmark", {"html": False}).disable("image")


@lru_cache(maxsize=1024)  # a build needs each text several times
def _markdown(text: str) -> Markup:
    """Render one line of Markdown; HTML in it is shown as text."""
    return Markup(_MARKDOWN.renderInline(text))  # noqa: S704 - the renderer escapes


def _plain(text: str) -> str:
    return _markdown(text).striptags()


@lru_cache
def environment(is_html: bool = True) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=is_html,  # noqa: S701 - Markdown needs no escaping
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters["markdown"] = _markdown
    return environment


def _detail(manifest: Mapping[str, Any], texts: Mapping[str, Any]) -> str:
    """Return the item's detail, a fragment of HTML: the overview and what the actions do."""
    translated = _translated(texts)
    paragraphs = Markup("").join(
        Markup("<p>{}</p>").format(_markdown(paragraph)) for paragraph in texts["overview"]
    )
    actions = Markup("").join(
        Markup("<li><strong>{}</strong>: {}</li>").format(
            action["displayName"], translated(action["description"])
        )
        for action in manifest["actions"]
    )
    return str(Markup("{}<ul>{}</ul>").format(paragraphs, actions))


def _page(root: Path, manifest: Mapping[str, Any], code: str, file: str) -> str:
    context = _context(root, manifest, code, file)
    return environment().get_template("instructions.html").render(context)


def _context(
    root: Path,
    manifest: Mapping[str, Any],
    code: str,
    file: str,
    given: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return what the templates show, in one language: of the connector and of every connector."""
    texts = given or _texts(root, code)
    said = guide(
        code,
        name=manifest["displayName"],
        file=file,
        bound=f"{bizagi.bound(manifest):g}",
        writing=", ".join(a["displayName"] for a in manifest["actions"] if a["effect"] == "write"),
    )
    words = _Words(texts, said)
    icon = root / (manifest["icon"].removesuffix(".png") + ".svg")
    svg = base64.b64encode(text_bytes(icon)).decode() if icon.is_file() else ""
    actions = [_action(root, manifest, action, words) for action in manifest["actions"]]
    using = said["using"]["one" if len(actions) == 1 else "many"]
    return {
        **texts,
        "code": code,
        "guide": said,
        "labels": said["labels"],
        "title": said["title"],
        "name": manifest["displayName"],
        "description": words.translated(manifest["description"]),
        "icon": f"data:image/svg+xml;base64,{svg}",
        "version": manifest["version"],
        "updated": _updated(root, manifest),
        "parameters": [words.setting(entry) for entry in manifest["parameters"]],
        "options": [words.setting(entry) for entry in bizagi.options(manifest)],
        "using": using.replace("{count}", str(len(actions))),
        "actions": actions,
    }


def guide(code: str, **names: str) -> dict[str, Any]:
    """Return what is said of every connector, with the names filled in."""
    document = _yaml((_HERE / f"guide.{code}.yaml").read_text("utf-8"))
    names["failing"] = document["failing"]["title"]

    def filled(value: Any) -> Any:
        if isinstance(value, str):
            for name, text in names.items():
                value = value.replace(f"{{{name}}}", text)
            return value
        if isinstance(value, list):
            return [filled(item) for item in value]
        return {key: filled(item) for key, item in value.items()}

    return dict(filled(document))


def _action(
    root: Path, manifest: Mapping[str, Any], action: Mapping[str, Any], words: _Words
) -> dict[str, Any]:
    name = action["name"]
    taken, returned = (json.loads((root / action[way]).read_bytes()) for way in ("input", "output"))
    return {
        **action,
        "dashed": name.replace("_", "-"),
        "description": words.translated(action["description"]),
        "note": words.texts["notes"].get(name),
        "inputs": [*words.inputs(taken, action["globals"])],
        "outputs": [*words.fields(returned)],
        "example_input": _json(words.example(taken)),
        "example_output": _json(
            words.example(returned, words.texts.get("shown", {}).get(name, {}))
        ),
    }


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


class _Words:
    """One language's words for what the manifest and the schemas declare."""

    def __init__(self, texts: Mapping[str, Any], guide: Mapping[str, Any]) -> None:
        self.texts = texts
        self.labels: Mapping[str, str] = guide["labels"]
        self.types: Mapping[str, str] = guide["types"]
        self.translated = _translated(texts)

    def setting(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        kinds = [self.labels["required" if entry.get("required") else "optional"]]
        if entry.get("secret"):
            kinds.append(self.labels["secret"])
        if "default" in entry:
            kinds.append(self.labels["default"].replace("{value}", str(entry["default"])))
        description = self.translated(entry["description"])
        return {"name": entry["name"], "kinds": kinds, "description": description}

    def inputs(self, schema: Mapping[str, Any], names: Iterable[str]) -> Iterator[dict[str, Any]]:
        for entry in self.fields(schema):
            name = entry["name"]
            need = "required" if name in schema.get("required", ()) else "optional"
            if name in names and need == "required":
                need = "or_global"
            yield {**entry, "need": self.labels[need]}

    def fields(self, schema: Mapping[str, Any], above: str = "") -> Iterator[dict[str, Any]]:
        """Give an object's fields and, after each object or list, those in it."""
        for name, field in schema["properties"].items():
            kind = bizagi.kind_of(field)
            description = self.translated(field["description"])
            if kind == "date":
                description = description.replace(
                    "RFC 2822, ", ""
                )  # only Python's output has this form
            can_be_empty = "null" in field["type"]
            kinds = [self.types[kind], *([self.labels["may_be_empty"]] if can_be_empty else [])]
            place = f"{above}{name}"
            yield {"name": place, "type": ", ".join(kinds), "description": description}
            inner = field.get("items", {}) if "items" in field else field
            if "properties" in inner:
                yield from self.fields(inner, f"{place}.")

    def example(self, schema: Mapping[str, Any], shown: Mapping[str, Any] | None = None) -> Any:
        """Return a schema's example as Bizagi has it, put together from those of the fields.

        `shown` has the values of fields whose own example would not go with the others.
        """
        if "items" in schema:
            return [self.example(schema["items"], shown)]
        if "properties" in schema:
            fields = schema["properties"].items()
            chosen = shown or {}
            return {
                name: chosen[name] if name in chosen else self.example(field, shown)
                for name, field in fields
            }
        value = schema["examples"][0]
        if bizagi.kind_of(schema) == "date":
            moment = email.utils.parsedate_to_datetime(value).astimezone(datetime.timezone.utc)
            return moment.strftime("%Y-%m-%dT%H:%M:%S")
        return self.texts.get("examples", {}).get(value, value)


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
            yield fault("text-form", file, "", f"it is no YAML ({_line(error)}): correct it")
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
            yield from _rendered(file, texts)
            yield from _translations(file, code, texts, said)
    if WRITTEN in usable:
        for code in usable.keys() - {WRITTEN}:
            yield from _alike(f"marketplace/listing/{code}.yaml", usable[code], usable[WRITTEN])


def _line(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    if not mark:
        return "a character that it can't hold"
    return f"line {mark.line + 1}: {getattr(error, 'problem', None) or 'it is not YAML'}"


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
    """Find texts that one of two languages lacks."""
    for key in ("overview", "disclaimer", "requirements", "before_you_start"):
        if len(texts[key]) != len(english[key]):
            message = f"it has {len(texts[key])} entries, in English {len(english[key])}"
            yield fault("text-form", file, key, f"{message}: make them the same")
    same = {text for _, text in _strings(english)}
    own = {key: value for key, value in texts.items() if key != "translations"}
    for place, text in _strings(own):
        if text in same and _is_telling(text):
            yield fault("text-missing", file, place, "it is in English: translate it")


def _notes(file: str, texts: Mapping[str, Any], manifest: Mapping[str, Any]) -> Iterator[Finding]:
    actions = {action["name"] for action in manifest["actions"]}
    for name in sorted(actions - texts["notes"].keys()):
        message = "say what a user of the action must know"
        yield fault("text-missing", file, f"notes.{name}", message)
    for name in sorted(texts["notes"].keys() - actions):
        message = "no action has this name: take it out"
        yield fault("text-stale", file, f"notes.{name}", message)
    codes = {code for row in texts["failing"]["codes"] for code in row["code"].split(", ")}
    known = set(bizagi.codes())
    for code in sorted(known - codes):
        message = "say what to do about this error"
        yield fault("text-missing", file, f"failing.codes: {code}", message)
    for code in sorted(codes - known):
        message = "no error has this code: take it out"
        yield fault("text-stale", file, f"failing.codes: {code}", message)


def _translations(
    file: str, code: str, texts: Mapping[str, Any], said: set[str]
) -> Iterator[Finding]:
    listed = [entry["of"] for entry in texts.get("translations", ())]
    # The language that the texts are written in needs no translation at all.
    needed = said if code != WRITTEN else set()
    for text in sorted(set(listed) - needed):
        message = "nothing in connector.json and the schemas says this any more: take it out"
        yield fault("text-stale", file, f"translations: {_short(text)}", message)
    for entry in texts.get("translations", ()):
        plain = " ".join(entry["of"].split())
        if " ".join(entry["is"].split()) == plain and _is_telling(plain):
            message = "its translation is the English text: translate it"
            yield fault("text-missing", file, f"translations: {_short(plain)}", message)
    for text in sorted({original for original in listed if listed.count(original) > 1}):
        message = "it is translated twice: keep one"
        yield fault("text-stale", file, f"translations: {_short(text)}", message)
    for text in sorted(needed - set(listed)):
        message = "it is not translated: add it"
        yield fault("text-missing", file, f"translations: {_short(text)}", message)


def _is_telling(text: str) -> bool:
    """Tell whether two languages must differ in it: it is more than names and codes."""
    return sum(not word.isupper() for word in text.split()) >= _TELLING_WORDS


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:59]}…"


def _said(root: Path, manifest: Mapping[str, Any]) -> Iterator[str]:
    """Give every description that the listing shows."""
    yield manifest["description"]
    options = bizagi.options(manifest)
    for entry in [*manifest["parameters"], *options, *manifest["actions"]]:
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
