"""Where this connector's files are, for `connector_runtime.load("twilio")`.

An installed wheel has them in this folder; a source tree has them one folder up.
"""

from pathlib import Path

_here = Path(__file__).resolve().parent
FOLDER = _here if (_here / "connector.json").is_file() else _here.parent
