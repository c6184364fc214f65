"""Records which call made which message: in one namespace, a message belongs to one call.

Two cases may send the same text to the same number, and a look-up can't tell their messages apart.
So before a case gets a message, its call claims it: the call starts a workflow whose id contains
the message's identifier. Temporal starts only one workflow for an id, so the first call gets the
message. This works on any cluster, without a setting by an administrator. A claim lasts as long as
the namespace keeps closed workflows (its retention).
"""

from __future__ import annotations

from temporalio import workflow
from temporalio.client import Client
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

NAME = "connector-made"
# The name of the memo that holds the owner
_OWNER = "call"


@workflow.defn(name=NAME, sandboxed=False)
class Made:
    """Does nothing: only its start matters."""

    @workflow.run
    async def run(self) -> None:
        return


def call_id(case: str, task: str) -> str:
    """Return the name of a call, made of the ids of its case and its task."""
    return f"{case}/{task}"


async def claim(client: Client, queue: str, connector: str, identifier: str, call: str) -> bool:
    """Claim the message `identifier` for a call. Return False if another call has claimed it.

    A worker of the task queue `queue` ends the workflow of the claim. Raise RPCError.
    """
    try:
        await client.start_workflow(
            Made.run,
            id=_workflow_id(connector, identifier),
            task_queue=queue,
            memo={_OWNER: call},
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            request_eager_start=True,
        )
    except WorkflowAlreadyStartedError:
        return await owner(client, connector, identifier) in (None, call)
    return True


async def owner(client: Client, connector: str, identifier: str) -> str | None:
    """Return the call that has claimed the message `identifier`, or None. Raise RPCError."""
    handle = client.get_workflow_handle(_workflow_id(connector, identifier))
    try:
        claimed = await handle.describe()
    except RPCError as error:
        if error.status == RPCStatusCode.NOT_FOUND:
            return None
        raise
    return str(await claimed.memo_value(_OWNER))


def _workflow_id(connector: str, identifier: str) -> str:
    return f"{NAME}-{connector}-{identifier}"
