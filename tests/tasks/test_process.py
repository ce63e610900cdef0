import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from tasks.process import run_in_own_session, start_server, stop_session

STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"


def wait_for_text(path, text):
    deadline = time.monotonic() + 30
    while not (path.is_file() and text in path.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_exit_status_and_streams_are_the_commands_own(tmp_path, capfd):
    assert run_in_own_session(["sh", "-c", "echo out; echo err >&2; exit 7"], tmp_path, os.environ) == 7
    assert capfd.readouterr() == ("out\n", "err\n")
    assert run_in_own_session(["sh", "-c", "kill -9 $$"], tmp_path, os.environ) == -9


def test_server_writes_to_its_log_and_stops_with_all_it_started(tmp_path):
    log = tmp_path / "logs" / "server.log"
    server = start_server(["sh", "-c", "sleep 60 & echo up $!; wait"], tmp_path, os.environ, log)
    wait_for_text(log, "up")
    grandchild = int(log.read_text().split()[1])
    stop_session(server)
    assert server.poll() is not None
    psutil.wait_procs([psutil.Process(grandchild)] if psutil.pid_exists(grandchild) else [], timeout=10)
    assert not psutil.pid_exists(grandchild)
    stop_session(server)  # a second time does nothing


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent is gone")
def test_server_ends_with_a_parent_that_was_killed(tmp_path):
    log = tmp_path / "server.log"
    code = (
        "import os, sys, time; from pathlib import Path; from tasks.process import start_server\n"
        f"start_server(['sh', '-c', 'echo up $$; sleep 60'], Path('.'), os.environ, Path({str(log)!r})); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code])
    wait_for_text(log, "up")
    server = psutil.Process(int(log.read_text().split()[1]))
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    server.wait(timeout=20)


@pytest.mark.slow
def test_command_that_will_not_end_is_killed(tmp_path):
    log = tmp_path / "server.log"
    server = start_server([sys.executable, "-c", STUBBORN], tmp_path, os.environ, log)
    wait_for_text(log, "up")
    left = psutil.Process(server.pid).children(recursive=True)
    stop_session(server)
    assert psutil.wait_procs(left, timeout=5)[1] == []
