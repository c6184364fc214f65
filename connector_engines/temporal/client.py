"""Connects to a Temporal server, and explains its errors in one sentence."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from temporalio.client import Client
from temporalio.converter import DataConverter
from temporalio.envconfig import ClientConfig
from temporalio.service import RPCError, RPCStatusCode

from connector_runtime.errors import InvalidConfiguration, InvalidInput

_CONFIGURATION = (RPCStatusCode.UNAUTHENTICATED, RPCStatusCode.PERMISSION_DENIED)


async def connect(
    address: str | None = None,
    namespace: str | None = None,
    *,
    data_converter: DataConverter | None = None,
) -> Client:
    """Connect to a Temporal server.

    Everything else, such as TLS and API keys, comes from Temporal's own environment configuration
    (TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE, TEMPORAL_API_KEY, TEMPORAL_TLS_…, or a profile of its
    TOML file). `address` is host:port, "localhost:7233" if it is given nowhere. Raise
    InvalidConfiguration.
    """
    try:
        config = ClientConfig.load_client_connect_config()
    except (RuntimeError, ValueError) as error:
        raise InvalidConfiguration(f"Temporal's configuration can't be read: {error}.") from error
    if address is not None:
        config["target_host"] = address
    if namespace is not None:
        config["namespace"] = namespace
    config.setdefault("target_host", "localhost:7233")
    if data_converter is not None:
        config["data_converter"] = data_converter  # type: ignore[typeddict-unknown-key]
    try:
        client = await Client.connect(**config)
        # The server checks the namespace only at the first request.
        await client.count_workflows("WorkflowId = ''")
    except (RuntimeError, ValueError) as error:
        raise InvalidConfiguration(
            f"no Temporal server can be reached at '{config['target_host']}': "
            f"{str(error).rstrip('.')[:200]}."
        ) from error
    except RPCError as error:
        raise _refused(error) from error
    return client


@contextlib.contextmanager
def refusals() -> Iterator[None]:
    """Turn the server's errors into InvalidConfiguration or InvalidInput."""
    try:
        yield
    except RPCError as error:
        raise _refused(error) from error


def _refused(error: RPCError) -> InvalidConfiguration | InvalidInput:
    text = error.message.rstrip(".")
    if error.status == RPCStatusCode.NOT_FOUND and "amespace" not in text:
        return InvalidInput(f"Temporal does not know this case ({text}).")
    if error.status in (RPCStatusCode.UNAVAILABLE, RPCStatusCode.DEADLINE_EXCEEDED):
        return InvalidConfiguration(f"Temporal's server does not answer ({text}).")
    if error.status in _CONFIGURATION:
        return InvalidConfiguration(f"Temporal's server refused the credentials ({text}).")
    return InvalidConfiguration(f"Temporal's server refused this: {text}.")
