"""`python -m connector_runtime`."""

from .cli import main

main()
