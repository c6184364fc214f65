"""Build what a marketplace gets: `python build.py`; `python build.py --help` for the rest."""

import sys
from pathlib import Path

try:
    from connector_build import main
except ModuleNotFoundError as error:
    if error.name != "connector_build":
        raise
    need = "build.py needs the package 'connector_build': python -m pip install -e '.[build]'"
    print(need, file=sys.stderr)
    sys.exit(2)

if __name__ == "__main__":
    main(Path(__file__).resolve().parent)
