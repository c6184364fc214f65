"""Runs connectors: load a package, connect it to an environment, run its actions."""

from .connection import Connection, Connector
from .errors import ConnectorError
from .loading import load

__all__ = ["Connection", "Connector", "ConnectorError", "load"]
