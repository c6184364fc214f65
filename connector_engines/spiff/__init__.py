"""SpiffWorkflow, embedded: BPMN processes whose service tasks are a connector's actions."""

from .engine import Case, CaseStopped, Engine
from .process import InvalidProcess
from .store import StoreInUse

__all__ = ["Case", "CaseStopped", "Engine", "InvalidProcess", "StoreInUse"]
