"""What the icons must be: a whole PNG, and a drawing that is nothing but a drawing."""

from __future__ import annotations

import math
import re
import struct
import xml.etree.ElementTree as ET
import zlib
from collections.abc import Iterator

BYTES = 64 * 1024
PIXELS = (64, 1024)
_MOST_INFLATED = 64 * 1024 * 1024  # more than the largest picture, 8 bytes a pixel
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # samples a pixel, by colour type
_SVG = "{http://www.w3.org/2000/svg}svg"
_ACTIVE = {"script", "foreignobject", "iframe", "object", "embed", "handler", "listener"}
_OUTSIDE = re.compile(r"url\(\s*[\"']?(?!\s*[\"']?#)|@import|javascript:", re.I)


def png_faults(content: bytes) -> Iterator[str]:
    """Give what is wrong with a PNG, and what to do."""
    try:
        chunks = _chunks(content)
        width, height = _whole(chunks)
    except ValueError as error:
        yield f"{error}: export it as PNG again"
        return
    least, most = PIXELS
    if width != height:
        yield f"it is {width} by {height} pixels: make it square"
    if not least <= width <= most:
        yield f"it is {width} pixels wide: {least} to {most} will do"
    yield from _weight(content)


def _weight(content: bytes) -> Iterator[str]:
    if len(content) > BYTES:
        yield f"it is {math.ceil(len(content) / 1024)} kB: at most {BYTES // 1024} kB will do"


def _chunks(content: bytes) -> list[tuple[bytes, bytes]]:
    """Return kind and data of each chunk. Raise ValueError where one is not whole."""
    if content[:8] != b"\x89PNG\r\n\x1a\n":
        raise ValueError("it is no PNG")
    found: list[tuple[bytes, bytes]] = []
    start = 8
    while start < len(content):
        if found and found[-1][0] == b"IEND":
            raise ValueError("something follows its end")
        length = int.from_bytes(content[start : start + 4], "big")
        end = start + 8 + length
        kind, data, crc = (
            content[start + 4 : start + 8],
            content[start + 8 : end],
            content[end:][:4],
        )
        if len(crc) < 4:
            raise ValueError("it is cut off")
        if zlib.crc32(kind + data) != int.from_bytes(crc, "big"):
            raise ValueError("it is damaged")
        found.append((kind, data))
        start = end + 4
    return found


def _whole(chunks: list[tuple[bytes, bytes]]) -> tuple[int, int]:
    """Return width and height of a PNG whose picture is all there, else raise ValueError."""
    kinds = [kind for kind, _ in chunks]
    if kinds[:1] != [b"IHDR"] or len(chunks[0][1]) != 13:
        raise ValueError("it does not begin with its header")
    if kinds[-1] != b"IEND":
        raise ValueError("it is cut off")
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", chunks[0][1])
    unpacker = zlib.decompressobj()
    try:
        packed = b"".join(data for kind, data in chunks if kind == b"IDAT")
        picture = unpacker.decompress(packed, _MOST_INFLATED)
    except zlib.error as error:
        raise ValueError("its picture is damaged") from error
    row = 1 + math.ceil(width * depth * _CHANNELS.get(colour, 1) / 8)
    if not unpacker.eof or (not interlaced and len(picture) != height * row):
        raise ValueError("its picture is not all there")
    return width, height


def png_texts(content: bytes) -> Iterator[str]:
    """Give what a PNG says beside its picture, such as its author or the program's settings."""
    try:
        chunks = _chunks(content)
    except ValueError:
        return
    for kind, data in chunks:
        if kind in (b"tEXt", b"zTXt", b"iTXt", b"eXIf"):
            yield f"{kind.decode()}: {data.decode('latin-1')}"
            for part in _tails(data):
                try:
                    yield zlib.decompressobj().decompress(part, BYTES).decode("latin-1")
                except zlib.error:
                    continue


def _tails(data: bytes) -> Iterator[bytes]:
    """Give what may be the compressed text of a chunk: it begins with an x, after null bytes."""
    return (data[match.start() :] for match in re.finditer(rb"(?<=\0)x", data))


def svg_faults(content: bytes) -> Iterator[str]:
    """Give what is wrong with an SVG, and what to do."""
    yield from _weight(content)
    try:
        text = content.decode("utf-8").lstrip("\ufeff")
    except UnicodeDecodeError:
        return  # the check of texts reports it
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
