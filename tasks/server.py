"""A Prefect API server of our own: on loopback, in a session of its own, ended with the run that needs it."""

import atexit
import http.client
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import filelock

from evergreen.errors import BadInputError, EvergreenError
from tasks.process import start_server, stop_session
from tasks.settings import LOOPBACK, Settings

START_SECONDS = 120.0
APP = "prefect.server.api.server:create_app"
# A run needs the API and the recorder of task runs; schedules are the business of `evergreen serve`.
FOR_A_RUN = {
    "PREFECT__SERVER_EPHEMERAL": "1",
    "PREFECT__SERVER_FINAL": "1",
    "PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_EVENT_LOGGER_ENABLED": "false",
}
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""No proxy knows this machine's loopback."""
FOR_THE_UI = {"PREFECT__SERVER_WEBSERVER_ONLY": "1"}
FOR_SCHEDULES: dict[str, str] = {}


class PrefectServer:
    """A server being started. ``wait`` returns when it answers; meanwhile there is time to import Prefect."""

    def __init__(self, settings: Settings, port: int | None = None, purpose: Mapping[str, str] = FOR_A_RUN) -> None:
        """Start it.

        Args:
            settings: the places of this installation.
            port: None for any free one.
            purpose: one of the sets of variables above: which of its services run.

        Raises:
            BadInputError: the port is taken.
        """
        self.port = port or free_port()
        require_free(self.port)
        self.log = settings.logs / "prefect-server.log"
        self._first_start = filelock.FileLock(settings.locks / "prefect-start.lock")
        self._first_start.acquire()  # the first one creates the database, and two at once would break it
        command = [sys.executable, "-P", "-m", "uvicorn", "--factory", APP]
        command += ["--host", LOOPBACK, "--port", str(self.port), "--log-level", "warning", "--lifespan", "on"]
        self._process = start_server(command, settings.home, _environment(settings, self.port) | purpose, self.log)
        atexit.register(self.stop)

    @property
    def url(self) -> str:
        """Where the API is."""
        return f"http://{LOOPBACK}:{self.port}/api"

    def wait(self) -> str:
        """Wait until the server answers, and return its API URL.

        Raises:
            EvergreenError: it ended, or does not answer in time; the text says where its log is.
        """
        wait_for(f"{self.url}/health", self._process, self.log)
        self._first_start.release()
        return self.url

    def stop(self) -> None:
        """End the server. A second call does nothing."""
        self._first_start.release()
        if self._process.poll() is None:
            stop_session(self._process)
        atexit.unregister(self.stop)


def _environment(settings: Settings, port: int) -> dict[str, str]:
    values = settings.child_environment()
    values.pop("PREFECT_API_URL", None)
    return values | {
        "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
        "PREFECT_SERVER_API_HOST": LOOPBACK,
        "PREFECT_SERVER_API_PORT": str(port),
        # There is no password: no page from elsewhere may ask.
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": f"http://{LOOPBACK}:{port}",
        "PREFECT_SERVER_UI_STATIC_DIRECTORY": str(settings.prefect_home / "ui"),
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    }


def free_port() -> int:
    """A TCP port on loopback that nobody listens on."""
    with socket.socket() as listener:
        listener.bind((LOOPBACK, 0))
        return int(listener.getsockname()[1])


def require_free(port: int) -> None:
    """Check that nobody listens on a port of loopback.

    Raises:
        BadInputError: somebody does.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            raise BadInputError(f"Port {port} of {LOOPBACK} is taken ({error.strerror}). Name another one.") from error


def wait_for(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Wait until a server that was just started answers.

    Raises:
        EvergreenError: it ended, or does not answer in time.
    """
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise EvergreenError(f"The server for {url} ended with exit status {process.returncode}. Its output: {log}")
        try:
            with DIRECT.open(url, timeout=5) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError):
            time.sleep(0.1)
    raise EvergreenError(f"The server for {url} did not answer within {START_SECONDS:.0f} s. Its output: {log}")


@contextmanager
def prefect_api(
    settings: Settings, port: int | None = None, purpose: Mapping[str, str] = FOR_A_RUN
) -> Iterator[PrefectServer | None]:
    """The Prefect API for the block: the one named by PREFECT_API_URL, which gives None, else a server of our own.

    Enter it before Prefect is imported, which reads the URL once, and ``wait`` for the server after that.
    """
    if settings.prefect_api is not None:
        yield None
        return
    server = PrefectServer(settings, port, purpose)
    os.environ["PREFECT_API_URL"] = server.url
    try:
        yield server
    finally:
        del os.environ["PREFECT_API_URL"]
        server.stop()
