"""Child processes that never outlive the run they belong to.

As a command, ``python -P -m tasks.process COMMAND...`` runs a command that would not see to that itself.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

PR_SET_PDEATHSIG = 1
STOP_SECONDS = 10.0


def die_with_parent() -> None:
    """Ask Linux for a SIGTERM when this process's parent ends, however it ends. Elsewhere it does nothing."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM))
    if os.getppid() == 1:  # it ended before the request was heard
        os.kill(os.getpid(), signal.SIGTERM)


def end_session_with_parent() -> None:
    """For a process that leads its session: kill all of it on SIGTERM and when the parent ends.

    A shell between this process and its grandchildren would pass no signal on.
    """
    signal.signal(signal.SIGTERM, lambda number, frame: os.killpg(0, signal.SIGKILL))
    die_with_parent()


def run_in_own_session(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> int:
    """Run a command with the terminal's streams and wait for it; its exit status, negative for a signal.

    The command leads a session of its own. Whatever ends the wait, Ctrl-C or SIGTERM, ends it and all its children.
    """
    process = subprocess.Popen(list(command), cwd=folder, env=dict(environment), start_new_session=True)
    try:
        return process.wait()
    except BaseException:
        stop_session(process)
        raise


def start_server(
    command: Sequence[str], folder: Path, environment: Mapping[str, str], log: Path
) -> "subprocess.Popen[bytes]":
    """Start a background process in a session of its own, its output going to ``log``. It ends with this process."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "tasks.process", *command],
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def stop_session(process: "subprocess.Popen[bytes]") -> None:
    """End a process that leads its session and everything in it: first politely, after ten seconds not."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=STOP_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def main(command: Sequence[str]) -> int:
    """Run a command until it ends or this process is told to end; then it gets half the time to go politely."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit())
    die_with_parent()
    process = subprocess.Popen(list(command))
    try:
        return process.wait()
    except SystemExit:  # raised by the handler, so that the waiting ends and another can begin
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=STOP_SECONDS / 2)
        os.killpg(0, signal.SIGKILL)
        raise


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
