"""`dist/xchange/`: what the form of an Xchange item asks for, one file a field and language."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from . import listing

_TEMPLATE = "xchange.html"
_TEXTS = ("name", "overview", "description")  # of each language, as plain text


def files(listed: Mapping[str, bytes], install: listing.File) -> dict[str, bytes]:
    """Return the files by name, from those of the listing and the file that users install."""
    item = json.loads(listed["listing.json"])
    made = {"icon.svg": listed["icon.svg"], install.name: install.content}
    made["version.txt"] = _line(item["version"])
    made["updated.txt"] = _line(item["updated"])
    made |= {name: listed[name] for name in item["gallery"] if name.startswith("gallery/")}
    for code, texts in item["languages"].items():
        for name in _TEXTS:
            made[f"{code}/{name}.txt"] = _line(texts[name])
        made[f"{code}/detail.html"] = _line(texts["detail"])
        made[f"{code}/category.txt"] = _line(", ".join(texts["categories"]))
        made[f"{code}/cost-type.txt"] = _line(texts["costType"])
        made[f"{code}/instructions.html"] = listed[texts["instructions"]]
    made["index.html"] = _page(item, made, install.name).encode()
    return made


def _line(text: str) -> bytes:
    return f"{text}\n".encode()


def _page(item: Mapping[str, Any], made: Mapping[str, bytes], install: str) -> str:
    """Make the page that says which file goes into which field of the form."""
    gallery = sorted(name for name in made if name.startswith("gallery/"))
    languages = [
        {
            "code": code,
            "fields": [
                ("Name", f"{code}/name.txt"),
                ("Overview", f"{code}/overview.txt"),
                ("Description", f"{code}/description.txt"),
                ("Detail", f"{code}/detail.html"),
                ("Instructions", f"{code}/instructions.html"),
                ("Category", f"{code}/category.txt"),
                ("Cost type", f"{code}/cost-type.txt"),
            ],
        }
        for code in item["languages"]
    ]
    once = [
        ("Version", "version.txt"),
        ("Updated", "updated.txt"),
        ("Icon", "icon.svg"),
        *((f"Gallery, picture {place}", name) for place, name in enumerate(gallery, 1)),
        ("Install file", install),
    ]
    template = listing.environment().get_template(_TEMPLATE)
    shown = {
        name: content.decode().strip()
        for name, content in made.items()
        if name.endswith((".txt", "detail.html"))
    }
    context = {"item": item, "once": once, "languages": languages, "texts": shown}
    return template.render(context | {"sha256": item["installFile"]["sha256"]})
