"""Child processes that never outlive the run they belong to."""

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


def die_with_parent(number: signal.Signals = signal.SIGTERM) -> None:
    """Ask Linux to send this process a signal when its parent ends, however it ends. Elsewhere it does nothing."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(number))
    if os.getppid() == 1:  # it ended before the request was heard
        os.kill(os.getpid(), number)


def run_in_own_session(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> int:
    """Run a command with the terminal's streams and wait for it; its exit status, negative for a signal.

    The command leads a session of its own. Whatever ends the wait, Ctrl-C or SIGTERM, ends the command and all its children.
    """
    process = subprocess.Popen(list(command), cwd=folder, env=dict(environment), start_new_session=True)
    try:
        return process.wait()
    except BaseException:
        stop_session(process)
        raise


def start_server(command: Sequence[str], folder: Path, environment: Mapping[str, str], log: Path) -> "subprocess.Popen[bytes]":
    """Start a background process in a session of its own, its output going to ``log``. It ends with this process."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        return subprocess.Popen(
            list(command),
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=die_with_parent,  # noqa: PLW1509  servers start before there are threads
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
