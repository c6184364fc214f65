import zlib

import pytest

from connector_build import checks
from connector_runtime import archive
from tests.packaging.checks.planting import (
    SAYS_WHAT_TO_DO,
    chunk,
    find,
    manifest,
    move,
    own,
    png,
    remove,
    rules,
    svg,
    write,
)

ICON_BYTES = 64 * 1024


FAULTS = {
    "icon: no SVG": ("icon.svg", "", remove("icon.svg")),
    "icon: no PNG": ("icon.png", "", write("icon.png", b"GIF89a".ljust(100))),
    "icon: cut off": ("icon.png", "", write("icon.png", png(128, 128)[:32])),
    "icon: damaged picture": (
        "icon.png", "", write("icon.png", png(64, 64).replace(b"IDATx", b"IDATy")),
    ),
    "icon: not square": ("icon.png", "", write("icon.png", png(128, 127))),
    "icon: too small": ("icon.png", "", write("icon.png", png(63, 63))),
    "icon: too large": ("icon.png", "", write("icon.png", png(1025, 1025))),
    "icon: too many bytes": ("icon.png", "", write("icon.png", png(128, 128, ICON_BYTES + 1))),
    "icon: other name": (
        "logo.png", "", move("icon.svg", "logo.svg"), manifest("icon", "logo.png"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", FAULTS)
def test_a_planted_fault_is_found_and_nothing_else(tree, case):
    find(tree, case, FAULTS[case])


BAD_PICTURES = {
    "without a header": b"\x89PNG\r\n\x1a\n" + chunk(b"IEND", b""),
    "with a header of another length": b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", b"short"),
    "with nothing in it": b"\x89PNG\r\n\x1a\n",
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
            faults = checks.icon.png_faults if name == "icon.png" else checks.icon.svg_faults
            messages = [*faults((tree / name).read_bytes())]
            assert len(messages) == 1, (case, messages)
            assert SAYS_WHAT_TO_DO.search(messages[0]), messages
        assert rules(checks.check(tree)) == [("icon", name)]
        write(name, whole)(tree)


def test_pictures_and_drawings_of_other_kinds_are_left_alone():
    rich = '<use href="#a"/><path fill="url( \'#a\')"/><image href="data:image/png;base64,AA=="/>'
    for good in (svg(rich), "\ufeff<?xml version='1.0' encoding='utf-8'?>" + svg()):
        assert [*checks.icon.svg_faults(good.encode())] == []
    noted = png(64, 64, 0, chunk(b"tEXt", b"Author\0x"), chunk(b"pHYs", bytes(9)))
    assert [*checks.icon.png_faults(noted)] == []


CLEAN = {
    "least and greatest icon": write("icon.png", png(64, 64, ICON_BYTES)),
    "large icon": write("icon.png", png(1024, 1024)),
}  # fmt: skip


@pytest.mark.parametrize("case", CLEAN)
def test_what_only_looks_like_a_fault_is_left_alone(tree, case):
    CLEAN[case](tree)
    assert own(checks.check(tree)) == []


def test_a_missing_icon_of_another_name_is_two_faults(tree):
    manifest("icon", "logo.png")(tree)
    assert rules(checks.check(tree)) == [("icon", "logo.png"), ("icon", "logo.svg")]


def test_an_icon_can_be_wrong_in_every_way(tree):
    write("icon.png", png(2000, 1, archive.MOST_BYTES + 1))(tree)
    assert rules(checks.check(tree)) == [
        ("size", "(package)"),
        *[("icon", "icon.png")] * 3,
        ("size", "icon.png"),
    ]
