"""Draw the BPMN examples as SVG, from their files, as a modeler shows them.

`make diagrams` installs bpmn-js and runs this. It needs npm and Chromium. A warning of the modeler
about a file is an error.
"""

from __future__ import annotations

import hashlib
import html
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

EXAMPLES = Path(__file__).parent
PAGE = """<!DOCTYPE html><meta charset="utf-8"><div id="canvas" style="width:1600px;height:1200px">
</div><pre id="drawn"></pre><script>{viewer}</script><script>
const viewer = new BpmnJS({{container: '#canvas'}});
viewer.importXML({xml}).then(async ({{warnings}}) => {{
  const {{svg}} = await viewer.saveSVG();
  document.getElementById('drawn').textContent =
    warnings.length ? 'warning: ' + warnings.map(each => each.message).join('; ') : svg;
}}).catch(error => {{ document.getElementById('drawn').textContent = 'error: ' + error.message; }});
</script>"""
CHROMIUM = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"]
CHROMIUM += ["--disable-background-networking", "--disable-component-update", "--disable-quic"]


def stamp(source: bytes) -> str:
    """Return the comment that shows from which file (by its hash) a drawing was made."""
    return f"<!-- drawn from SHA-256 {hashlib.sha256(source).hexdigest()} -->"


def draw(path: Path, viewer: str, chromium: str) -> str:
    """Return the diagram of a BPMN file as SVG text, drawn by bpmn-js in a browser."""
    source = path.read_bytes()
    xml = repr(source.decode("utf-8")).replace("</", "<\\/")
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "page.html"
        page.write_text(
            PAGE.format(viewer=viewer.replace("</script", "<\\/script"), xml=xml), "utf-8"
        )
        dumped = subprocess.run(
            [
                chromium,
                *CHROMIUM,
                f"--user-data-dir={folder}/profile",
                "--dump-dom",
                "--virtual-time-budget=20000",
                page.as_uri(),
            ],
            check=True,
            capture_output=True,
            encoding="utf-8",
        ).stdout
    match = re.search(r'<pre id="drawn">(.*?)</pre>', dumped, re.DOTALL)
    drawn = html.unescape(match[1]) if match else ""
    start = drawn.find("<svg")
    if start < 0:
        sys.exit(f"{path.name}: {drawn or 'nothing was drawn'}")
    white = drawn[start:].replace(
        ">", "><rect width='100%' height='100%' x='{}' y='{}' fill='white'/>", 1
    )
    box = re.search(r'viewBox="([-\d.]+) ([-\d.]+)', drawn)
    return white.format(*(box.groups() if box else (0, 0))) + f"\n{stamp(source)}\n"


def main() -> None:
    modules = Path(sys.argv[1]) / "node_modules" / "bpmn-js" / "dist"
    viewer = (modules / "bpmn-viewer.production.min.js").read_text("utf-8")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("Chromium is not installed, and it is needed for the diagrams: install it.")
    for path in sorted(EXAMPLES.glob("*.bpmn")):
        path.with_suffix(".svg").write_text(draw(path, viewer, chromium), "utf-8")
        print(path.with_suffix(".svg").name)


if __name__ == "__main__":
    main()
