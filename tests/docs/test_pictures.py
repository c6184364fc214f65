"""The pictures in the documentation are drawn, by the program that sites draw them with."""

import html
import re

from tests.conftest import npm_install

PAGE = """<!DOCTYPE html><html><body>{pictures}
<script src="node_modules/mermaid/dist/mermaid.min.js"></script>
<script>mermaid.initialize({{startOnLoad: true}})</script></body></html>"""


def test_every_picture_is_drawn(root, chromium, tmp_path):
    texts = {
        f"{path.relative_to(root)} {number}": text
        for path in sorted(root.glob("docs/**/*.md"))
        for number, text in enumerate(
            re.findall(r"^```mermaid\n(.*?)^```", path.read_text("utf-8"), re.DOTALL | re.MULTILINE)
        )
    }
    assert texts
    npm_install(tmp_path, "mermaid@11")
    page = tmp_path / "pictures.html"
    pictures = [f"<pre class=mermaid>{html.escape(text)}</pre>" for text in texts.values()]
    page.write_text(PAGE.format(pictures="\n".join(pictures)))
    drawn = chromium("--virtual-time-budget=20000", "--dump-dom", page.as_uri()).split("<pre ")[1:]
    for name, picture in zip(texts, drawn, strict=True):
        assert "<svg" in picture, name
        assert "Syntax error in text" not in picture, name
