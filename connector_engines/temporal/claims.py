"""Which call has made what: a message belongs to one call, in the whole namespace.

Two cases may send the same text to the same number, and a look-up can't tell their messages apart.
So each call claims what it has made or found before its case gets it: it starts a workflow whose id
is the service's identifier. Temporal starts one workflow for an id, so the first call has it. This
works on any cluster, without a setting by an administrator. A claim is remembered as long as the
namespace keeps closed workflows (its retention).
"""

from __future__ import annotations

from temporalio import workflow
from temporalio.client import Client
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

NAME = "connector-made"
_OWNER = "call"  # the name of the memo that holds the owner


@workflow.defn(name=NAME, sandboxed=False)
class Made:
    """Does nothing: only its start matters."""

    @workflow.run
    async def run(self) -> None:
        return


def call_id(case: str, task: str) -> str:
    """Name a call: the case's id and its task's."""
    return f"{case}/{task}"


async def claim(client: Client, queue: str, connector: str, identifier: str, call: str) -> bool:
    """Claim for a call what it has made. Return False where another call has it.

    Workers of the task queue `queue` close the claim. Raise RPCError.
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
    """Return the call that has claimed this, or None. Raise RPCError."""
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
