import subprocess
import sys


def test_arenas_process_is_the_one_that_the_script_writes(root, tmp_path):
    for name in ("arena.py", "notify_customer.bpmn"):
        (tmp_path / name).write_bytes((root / "examples" / name).read_bytes())
    subprocess.run([sys.executable, tmp_path / "arena.py"], check=True, timeout=60)
    written = (tmp_path / "notify_customer_arena.bpmn").read_text("utf-8")
    assert written == (root / "examples" / "notify_customer_arena.bpmn").read_text("utf-8")
    assert "sms['status']" not in written
    assert "sms_error['provider_code']" not in written
