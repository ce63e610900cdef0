import http.server
import socket
import socketserver
import subprocess
import sys
import threading
import urllib.request

import pytest

from evergreen.errors import BadInputError, EvergreenError
from tasks.server import PrefectServer, free_port, require_free, wait_for
from tasks.settings import LOOPBACK


def test_free_port_can_be_bound():
    port = free_port()
    require_free(port)
    with socket.socket() as listener:
        listener.bind((LOOPBACK, port))


def test_taken_port_is_bad_input(small_settings):
    with socket.socket() as listener:
        listener.bind((LOOPBACK, 0))
        listener.listen()
        port = listener.getsockname()[1]
        with pytest.raises(BadInputError, match=f"Port {port} of 127.0.0.1 is taken"):
            PrefectServer(small_settings, port)


def test_server_that_ends_is_told_with_its_log(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"])
    process.wait()
    with pytest.raises(EvergreenError, match=r"ended with exit status 3\. Its output: .*server\.log"):
        wait_for(f"http://{LOOPBACK}:{free_port()}/health", process, tmp_path / "server.log")


@pytest.fixture
def alive():
    """A server's process that has not ended."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield process
    process.kill()
    process.wait()


def test_wait_returns_once_the_server_answers_whatever_proxy_is_set(alive, tmp_path, monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://{LOOPBACK}:1")
    monkeypatch.setattr(urllib.request, "_opener", None)
    answered = []

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            answered.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args):
            pass

    # not http.server.HTTPServer, which asks for the machine's name and may wait for it
    with socketserver.TCPServer((LOOPBACK, 0), Answer, bind_and_activate=False) as server:
        server.timeout = 60
        server.server_bind()  # the port is taken from the start, and answers nobody until it is listened to
        late = threading.Timer(0.3, lambda: (server.server_activate(), server.handle_request()))
        late.start()
        try:
            wait_for(f"http://{LOOPBACK}:{server.server_address[1]}/health", alive, tmp_path / "log")
            assert answered == ["/health"]
        finally:
            late.join()


def test_answer_that_is_no_http_is_asked_again(alive, tmp_path):
    """As of a client that met itself: asking a free port again and again may connect a socket to its own end."""
    answered = []

    class Echo(socketserver.BaseRequestHandler):
        def handle(self):
            asked = self.request.recv(1000)
            answered.append(b"HTTP/1.0 200 OK\r\n\r\n" if answered else asked)
            self.request.sendall(answered[-1])

    with socketserver.TCPServer((LOOPBACK, 0), Echo) as server:
        server.timeout = 60
        serving = threading.Thread(target=lambda: [server.handle_request() for _ in range(2)])
        serving.start()
        try:
            wait_for(f"http://{LOOPBACK}:{server.server_address[1]}/", alive, tmp_path / "log")
            assert len(answered) == 2
        finally:
            serving.join()
