"""The data in Temporal's history, and values that are too large for it."""

import asyncio
import base64
import os

import pytest
from temporalio.api.common.v1 import Payload

from connector_engines.temporal import CaseStopped, Encryption, Folder, converter
from connector_runtime.errors import InvalidConfiguration, InvalidInput
from tests.engines.drawing import flows, script
from tests.engines.temporal import cluster

REPORT = cluster.ROOT / "examples" / "monthly_report.bpmn"
NOTIFY = cluster.ROOT / "examples" / "notify_customer.bpmn"
CUSTOMER = {"customer": {"name": "Clinic 24", "phone": "+14155550123"}, "poll_seconds": 0.05}
SECRETS = (b"14155550123", b"Clinic", b"appointment")


def key():
    return base64.b64encode(os.urandom(32)).decode()


def raw(history):
    return b"".join(event.SerializeToString() for event in history.events)


def test_history_is_unreadable_with_keys_and_has_no_setting_either_way(
    server, config, sandbox, on_cluster, name, tmp_path
):
    keys = tmp_path / "keys"
    keys.write_text(f"# the newest first\n{key()}\n{key()}\n")
    encryption = Encryption.from_text(keys.read_text())

    async def run(cases):
        case = await cases.start(NOTIFY, CUSTOMER, id=f"{name}-{cases.task_queue}")
        data = await case.result()
        assert data["outcome"] == "delivered"
        return await case.workflow.fetch_history()

    with cluster.worker(server.address, config, "--key-file", keys, queue="sealed"):
        options = {"data_converter": converter(encryption=encryption)}
        sealed = raw(on_cluster(run, queue="sealed", **options))
    with cluster.worker(server.address, config, queue="open"):
        readable = raw(on_cluster(run, queue="open"))
    assert not [secret for secret in SECRETS if secret in sealed]
    assert all(secret in readable for secret in SECRETS)
    for history in (sealed, readable):
        for setting in (sandbox.settings["authToken"], sandbox.settings["apiBaseUrl"]):
            assert setting.encode() not in history


def test_new_key_encrypts_and_old_key_still_decrypts():
    old, new = key(), key()
    payload = Payload(metadata={"encoding": b"json/plain"}, data=b'"Hola"')

    async def turn(first, second):
        (sealed,) = await Encryption.from_text(first).encode([payload])
        assert b"Hola" not in sealed.SerializeToString()
        return await Encryption.from_text(second).decode([sealed])

    assert asyncio.run(turn(old, f"{new}\n{old}")) == [payload]
    with pytest.raises(InvalidConfiguration, match="which is not given"):
        asyncio.run(turn(new, old))


def test_payload_that_was_changed_is_refused():
    encryption = Encryption.from_text(key())

    async def turn():
        (sealed,) = await encryption.encode([Payload(data=b"Hola")])
        sealed.data = sealed.data[:-1] + bytes([sealed.data[-1] ^ 1])
        await encryption.decode([sealed])

    with pytest.raises(InvalidConfiguration, match="was changed"):
        asyncio.run(turn())


@pytest.mark.parametrize("text", ["", "secret", base64.b64encode(b"short").decode()])
def test_wrong_keys_are_refused_without_showing_them(text):
    with pytest.raises(InvalidConfiguration) as caught:
        Encryption.from_text(text)
    assert not text or text not in str(caught.value)


def test_large_value_without_storage_stops_the_case_and_is_not_repeated(
    server, config, sandbox, on_cluster, name
):
    sandbox.seed(6000)

    async def run(cases):
        case = await cases.start(REPORT, id=name)
        with pytest.raises(CaseStopped) as stopped:
            await case.result()
        return stopped.value, await case.workflow.fetch_history()

    with cluster.worker(server.address, config, queue=name):
        stopped, history = on_cluster(run, queue=name)
    assert stopped.code == "TOO_LARGE"
    assert "--storage" in str(stopped)
    calls = [
        event
        for event in history.events
        if event.HasField("activity_task_scheduled_event_attributes")
    ]
    assert len(calls) == 1


def test_large_value_goes_to_the_folder_and_the_report_is_made(
    server, config, sandbox, on_cluster, name, tmp_path
):
    sandbox.seed(6000)
    folder = tmp_path / "large"

    async def run(cases):
        case = await cases.start(REPORT, id=name)
        return await case.result(), await case.workflow.fetch_history()

    with cluster.worker(server.address, config, "--storage", folder, queue=name):
        options = {"data_converter": converter(storage=Folder(folder))}
        data, history = on_cluster(run, queue=name, **options)
    # The report leaves out received messages, so it has fewer than were stored
    assert data["report"]["messages"] > 5000
    assert [len(path.name) for path in folder.iterdir()] == [64]
    assert len(raw(history)) < 50_000


def test_large_data_at_the_start_is_refused_before(on_cluster, name, server):
    async def run(cases):
        await cases.start(NOTIFY, {"text": "x" * 3_000_000}, id=name)

    with pytest.raises(InvalidInput, match="external storage"):
        on_cluster(run)


def test_large_result_without_storage_ends_the_case_with_the_reason(
    server, config, on_cluster, name, bpmn_file
):
    grow = script("grow", "text = 'x' * 3000000")
    path = bpmn_file(grow, flows("start>grow>end"))

    async def run(cases):
        case = await cases.start(path, id=name)
        with pytest.raises(CaseStopped, match="external storage"):
            await case.result()

    with cluster.worker(server.address, config, queue=name):
        on_cluster(run, queue=name)


def test_value_of_the_folder_that_was_changed_is_refused(tmp_path):
    folder = Folder(tmp_path)

    async def turn():
        claims = await folder.store(None, [Payload(data=b"Hola")])
        (path,) = tmp_path.iterdir()
        path.write_bytes(b"Adios")
        await folder.retrieve(None, claims)

    with pytest.raises(ValueError, match="was changed"):
        asyncio.run(turn())
