"""Run the engines' command line: `python -m connector_engines`."""

from .cli import main

main()
