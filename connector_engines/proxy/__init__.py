"""Actions as commands over HTTP, for engines in other processes."""

from .server import Proxy

__all__ = ["Proxy"]
