"""The user interfaces of MLflow and Prefect, side by side on loopback."""

import signal
import threading
from collections.abc import Callable
from contextlib import ExitStack

from evergreen.errors import BadInputError
from tasks.process import start_server, stop_session
from tasks.server import FOR_THE_UI, PrefectServer, require_free, wait_for
from tasks.settings import LOOPBACK, Settings


def show(settings: Settings, mlflow_port: int, prefect_port: int) -> None:
    """Serve both until Ctrl-C or SIGTERM. A server that is somewhere else already is only named.

    Raises:
        BadInputError: a port is taken.
    """
    told_to_end = threading.Event()
    with ExitStack() as servers:
        waits = {
            "MLflow": _mlflow(settings, mlflow_port, servers),
            "Prefect": _prefect(settings, prefect_port, servers),
        }
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: told_to_end.set())
        for name, wait in waits.items():
            print(f"{name:<8}{wait()}", flush=True)
        print("Ctrl-C ends both.", flush=True)
        told_to_end.wait()


def _mlflow(settings: Settings, port: int, servers: ExitStack) -> Callable[[], str]:
    """Start MLflow; the function waits for it and returns its URL."""
    if not settings.local_store:
        return lambda: settings.tracking_uri
    require_free(port)
    script, log = settings.checkout / "mlflow" / "serve.sh", settings.logs / "mlflow-server.log"
    process = start_server(["sh", str(script), str(port)], settings.home, settings.child_environment(), log)
    servers.callback(stop_session, process)
    url = f"http://{LOOPBACK}:{port}"

    def wait() -> str:
        wait_for(f"{url}/health", process, log)
        return url

    return wait


def _prefect(settings: Settings, port: int, servers: ExitStack) -> Callable[[], str]:
    """Start Prefect; the function waits for it and returns its URL."""
    if (api := settings.prefect_api) is not None:
        return lambda: api.removesuffix("/api")
    try:
        server = PrefectServer(settings, port, FOR_THE_UI)
    except BadInputError as error:
        raise BadInputError(f"{error} If `evergreen serve` runs there, its own page is the one to open.") from error
    servers.callback(server.stop)
    return lambda: server.wait().removesuffix("/api")
