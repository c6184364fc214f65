"""What the icons must be: a complete PNG, and an SVG without scripts or references."""

from __future__ import annotations

import io
import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator

from PIL import Image, PngImagePlugin

from .. import package
from ..findings import Finding, fault
from ..targets import LISTING
from .tree import Tree

BYTES = 64 * 1024
PIXELS = (64, 1024)
_SVG = "{http://www.w3.org/2000/svg}svg"
_ACTIVE = {"script", "foreignobject", "iframe", "object", "embed", "handler", "listener"}
_OUTSIDE = re.compile(r"url\(\s*[\"']?(?!\s*[\"']?#)|@import|javascript:", re.I)


def check(tree: Tree) -> Iterator[Finding]:
    """Find icons that are missing or that a marketplace would not show."""
    name = tree.manifest["icon"]
    content = tree.files.get(name)
    if content is not None:
        for message in png_faults(content):
            yield fault("icon", name, "", message)
    elif name not in package.CONTENTS:
        yield fault("icon", name, "", f"the package takes {package.CONTENTS[1]}: use that name")
    drawing = tree.root / (name.removesuffix(".png") + ".svg")
    if drawing.is_file():
        for message in svg_faults(package.text_bytes(drawing)):
            yield fault("icon", drawing.name, "", message)
    elif LISTING.has_sources(tree.root):
        yield fault("icon", drawing.name, "", "the listing needs the icon as SVG too: add it")


def png_faults(content: bytes) -> Iterator[str]:
    """Give what is wrong with a PNG, and what to do."""
    if len(content) > BYTES:
        yield f"it is {math.ceil(len(content) / 1024)} kB: at most {BYTES // 1024} kB will do"
    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as picture:
            width, height = picture.size
            if width * height <= PIXELS[1] ** 2:  # larger pictures are not decoded
                picture.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        yield f"it is no whole PNG ({type(error).__name__}): export it as PNG again"
        return
    least, most = PIXELS
    if width != height:
        yield f"it is {width} by {height} pixels: make it square"
    if not least <= width <= most:
        yield f"it is {width} pixels wide: {least} to {most} will do"


def texts_of_picture(content: bytes) -> list[str]:
    """Return the texts in a PNG, such as its author or the program's settings."""
    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as picture:
            picture.load()
            return [f"{key}: {value}" for key, value in picture.info.items() if _is_text(value)]
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return []  # `png_faults` reports it


def _is_text(value: object) -> bool:
    return isinstance(value, str | bytes | PngImagePlugin.iTXt)


def svg_faults(content: bytes) -> Iterator[str]:
    """Give what is wrong with an SVG, and what to do."""
    if len(content) > BYTES:
        yield f"it is {math.ceil(len(content) / 1024)} kB: at most {BYTES // 1024} kB will do"
    try:
        text = content.decode("utf-8").lstrip("\ufeff")
    except UnicodeDecodeError:
        return  # `files` reports it
    if re.search(r"<!(DOCTYPE|ENTITY)|<\?(?!xml\s)", text, re.I):
        yield "it has a DOCTYPE, an entity or an instruction to a program: take it out"
        return
    try:
        root = ET.fromstring(text)  # noqa: S314 - without a DOCTYPE nothing can be expanded
    except (ET.ParseError, ValueError) as error:
        yield f"it is no well-formed XML ({error}): correct it"
        return
    if root.tag != _SVG:
        yield "its outermost element must be an svg of http://www.w3.org/2000/svg"
        return
    try:
        _, _, width, height = map(float, root.get("viewBox", "").replace(",", " ").split())
    except ValueError:
        width = height = 0.0
    if not 0 < width == height < math.inf:
        yield "it needs a 'viewBox' that is square, as in viewBox='0 0 128 128'"
    if any(map(_is_active, root.iter())):
        yield "it holds a script or an event handler: take it out"
    if any(map(_is_outside, root.iter())):
        yield "it refers to something outside of it: take it out, or put it into the drawing"


def _local(name: str) -> str:
    return name.rpartition("}")[2].lower()


def _is_active(element: ET.Element) -> bool:
    return _local(element.tag) in _ACTIVE or any(
        _local(key).startswith("on") for key in element.attrib
    )


def _is_outside(element: ET.Element) -> bool:
    links = [value for key, value in element.items() if _local(key) in ("href", "src", "base")]
    own = all(link.strip().startswith(("#", "data:image/")) for link in links)
    return not own or any(map(_OUTSIDE.search, [*element.attrib.values(), element.text or ""]))
