"""The user interfaces of MLflow and Prefect, side by side on loopback."""

import signal
import threading
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
    signal.signal(signal.SIGTERM, lambda number, frame: told_to_end.set())
    signal.signal(signal.SIGINT, lambda number, frame: told_to_end.set())
    with ExitStack() as servers:
        urls = {"MLflow": _mlflow(settings, mlflow_port, servers), "Prefect": _prefect(settings, prefect_port, servers)}
        for name, url in urls.items():
            print(f"{name:<8}{url}", flush=True)
        print("Ctrl-C ends both.", flush=True)
        told_to_end.wait()


def _mlflow(settings: Settings, port: int, servers: ExitStack) -> str:
    if not settings.local_store:
        return settings.tracking_uri
    require_free(port)
    script, log = settings.checkout / "mlflow" / "serve.sh", settings.logs / "mlflow-server.log"
    process = start_server(["sh", str(script), str(port)], settings.home, settings.child_environment(), log)
    servers.callback(stop_session, process)
    url = f"http://{LOOPBACK}:{port}"
    wait_for(f"{url}/health", process, log)
    return url


def _prefect(settings: Settings, port: int, servers: ExitStack) -> str:
    if settings.prefect_api is not None:
        return settings.prefect_api.removesuffix("/api")
    try:
        server = PrefectServer(settings, port, FOR_THE_UI)
    except BadInputError as error:
        raise BadInputError(f"{error} If `evergreen serve` runs, its own page at that port is the one.") from error
    servers.callback(server.stop)
    return server.wait().removesuffix("/api")
