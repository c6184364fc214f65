"""Runs BPMN cases in this process, with threads and SQLite. Service tasks are connector actions."""

from connector_engines.bpmn import CaseStopped, InvalidProcess

from .case import Case
from .engine import Engine
from .store import StoreInUse

__all__ = ["Case", "CaseStopped", "Engine", "InvalidProcess", "StoreInUse"]
