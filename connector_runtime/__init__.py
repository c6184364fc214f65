"""Runs connectors: load a package, connect it to an environment, run its actions."""

from .connection import Call, Connection, Connector
from .errors import ConnectorError
from .loading import load
from .version import VERSION

__all__ = ["VERSION", "Call", "Connection", "Connector", "ConnectorError", "load"]
