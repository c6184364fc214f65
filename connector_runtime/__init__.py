"""Runs connectors: load a package, connect it to an environment, run its actions.

What is named here is public: for hosts `load` and what it leads to, for connectors `Call`,
`Service`, `Explanation`, `is_secure`, what a check needs (`Inquiry`, `Question`, `Finding`) and the
errors. All else may change with any version.
"""

from . import errors
from .checking import Finding, Inquiry, Question
from .connection import Action, Call, Connection, Connector
from .errors import ConnectorError
from .http import Explanation, Service, is_secure
from .loading import load
from .resolution import Found
from .version import VERSION

__all__ = [
    "VERSION",
    "Action",
    "Call",
    "Connection",
    "Connector",
    "ConnectorError",
    "Explanation",
    "Finding",
    "Found",
    "Inquiry",
    "Question",
    "Service",
    "errors",
    "is_secure",
    "load",
]
