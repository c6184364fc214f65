"""Make the pictures of the listing's gallery, from real drawings and real output.

`make gallery` runs this. It needs Chromium and Node.js. The pictures are in marketplace/gallery/.

1-process.png   the drawing of the example process, as a modeler shows it
2-doctor.png    the output of `connector check` for a trial account that is not set up yet
3-outputs.png   the output of an action of the .bizc, and the entity that it is mapped to
"""

from __future__ import annotations

import html
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from connector_build import bizagi_facts, bizc_try, listing  # noqa: E402
from twilio_sandbox import Sandbox  # noqa: E402

GALLERY = ROOT / "marketplace" / "gallery"
WIDTH = 1280
STYLE = """
body { margin: 0; width: 1280px; min-height: 100vh; display: flex; flex-direction: column;
  box-sizing: border-box; padding: 28px 36px; font: 17px/1.5 "DejaVu Sans", sans-serif;
  color: #1b1f27; background: #f6f8fb; overflow: hidden; }
h1 { margin: 0 0 16px; font-size: 26px; color: #1f3a8a; }
pre { margin: 0; padding: 20px 24px; border-radius: 10px; color: #e8ecf5; background: #1b2130;
  font: 15px/1.5 "DejaVu Sans Mono", monospace; white-space: pre-wrap; }
.drawing { height: 690px; padding: 12px; border-radius: 10px; background: #fff;
  display: flex; align-items: center; justify-content: center; }
.drawing svg { max-width: 100%; max-height: 100%; width: 100%; height: auto; }
.two { display: grid; grid-template-columns: 1fr 1fr; gap: 24px; }
table { width: 100%; border-collapse: collapse; background: #fff; font-size: 15px; }
th, td { padding: 5px 10px; border: 1px solid #d7dbe3; text-align: left; }
th { background: #e8ecf5; }
"""


def picture(name: str, title: str, body: str, height: int, chromium: str) -> None:
    """Write one picture: a page with this title and body, as Chromium shows it."""
    page = f"<!DOCTYPE html><meta charset=utf-8><style>{STYLE}</style><h1>{title}</h1>{body}"
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "page.html"
        source.write_text(page, "utf-8")
        subprocess.run(
            [
                *(chromium, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
                *("--disable-background-networking", f"--user-data-dir={folder}/profile"),
                f"--window-size={WIDTH},{height}",
                *(f"--screenshot={folder}/made.png", source.as_uri()),
            ],
            check=True,
            capture_output=True,
        )
        GALLERY.mkdir(exist_ok=True)
        shutil.move(f"{folder}/made.png", GALLERY / name)
    print(GALLERY / name)


def process() -> str:
    drawn = (ROOT / "examples" / "notify_customer.svg").read_text("utf-8")
    return f'<div class="drawing">{drawn[drawn.index("<svg") :]}</div>'


def doctor() -> str:
    """The output of the check for a new trial account and a recipient that is not verified."""
    with Sandbox(scenario="new") as sandbox, tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "connector.json"
        config.write_text(json.dumps({"environments": {"development": sandbox.settings}}), "utf-8")
        arguments = ["check", "--to", "+573001234567", "--config", str(config)]
        answered = subprocess.run(
            [sys.executable, "-m", "connector_runtime", *arguments],
            cwd=ROOT,
            capture_output=True,
            encoding="utf-8",
            check=False,
        ).stdout
    shown = f"$ connector check --to +573001234567 --config connector.yaml\n\n{answered}"
    return f"<pre>{html.escape(shown)}</pre>"


def outputs() -> str:
    """The output of Get SMS information of the .bizc, and the attributes that it is mapped to."""
    with Sandbox(step_seconds=60) as sandbox:
        settings: dict[str, Any] = {**sandbox.settings, "from": "+15005550006"}
        text = "Su cita es mañana a las 10:00."
        given = {"to": "+14155550123", "body": text}
        sent = bizc_try.attempt(ROOT, "send_sms", given, settings)
        sid = {"sid": sent["response"]["outputs"]["output"]["sid"]}
        sandbox.advance(600)
        envelope = bizc_try.attempt(ROOT, "get_sms_information", sid, settings)
    output = envelope["response"]["outputs"]["output"]
    shown = {key: value for key, value in output.items() if key not in ("uri", "account_sid")}
    schema = json.loads((ROOT / "schemas" / "get_sms_information.output.json").read_bytes())
    types = listing.guide("en")["types"]
    rows = "".join(
        f"<tr><td><code>output.{name}</code></td><td>SMS.{name}</td>"
        f"<td>{types[bizagi_facts.kind_of(schema['properties'][name])]}</td></tr>"
        for name in shown
    )
    answer = html.escape(json.dumps({"output": shown, "error": {}}, indent=2, ensure_ascii=False))
    return (
        f'<div class="two"><pre>{answer}</pre><table><tr><th>The connector gives</th>'
        f"<th>Attribute of the entity</th><th>Type</th></tr>{rows}</table></div>"
    )


def main() -> None:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("Chromium is not installed, and it is needed for the pictures: install it.")
    picture(
        "1-process.png", "A process that sends an SMS and follows it up", process(), 810, chromium
    )
    title = "The set-up, checked before the first SMS"
    picture("2-doctor.png", title, doctor(), 720, chromium)
    title = "The output of Get SMS information, mapped to an entity"
    picture("3-outputs.png", title, outputs(), 590, chromium)


if __name__ == "__main__":
    main()
