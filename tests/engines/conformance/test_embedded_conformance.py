"""The processes of the table in the embedded engine, with a store."""

import pytest

from connector_engines.embedded import Engine
from tests.engines.conformance import table


@pytest.mark.parametrize("entry", table.entries(), ids=table.label)
def test_process_comes_to_what_the_table_says(entry, sandbox, twilio_folder, tmp_path):
    table.prepare(sandbox, entry)
    settings = {"twilio": {**sandbox.settings, **table.SETTINGS}}
    with Engine({"twilio": twilio_folder}, settings, store=tmp_path / "cases.sqlite") as engine:
        case = engine.start(entry.file, entry.data)
        engine.run([case])
        stood, error = case.status, case.error
        for kind, *arguments in entry.people:
            act(engine, case, kind, arguments, sandbox, twilio_folder)
            engine.run([case])
        late = [result["element"] for result in case.late]
        table.judge(sandbox, entry, table.Outcome(stood, error, case.status, case.data, late))


def act(engine, case, kind, arguments, sandbox, connector):
    if kind == "settle":
        sid = table.output_of(sandbox, arguments[0]["text"])
        with connector.connect(sandbox.settings) as connection:
            case.settle(connection.run("get_sms_information", {"sid": sid}))
    elif kind in ("message", "signal"):
        assert getattr(engine, kind)(*arguments) == [case]
    else:
        getattr(case, kind)(*arguments)
