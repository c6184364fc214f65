"""BPMN in this process: threads, SQLite, service tasks that are a connector's actions."""

from connector_engines.bpmn import CaseStopped, InvalidProcess

from .case import Case
from .engine import Engine
from .store import StoreInUse

__all__ = ["Case", "CaseStopped", "Engine", "InvalidProcess", "StoreInUse"]
