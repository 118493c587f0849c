"""A server that speaks MongoDB's protocol over TCP, and a proxy that makes it slow, silent or wrong."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import bson
import pymongo
import pytest
from pymongo.uri_parser import parse_uri

from reference.waiting import PATIENCE

VARIABLE = "NABLAFX_TEST_MONGO_URL"
_OP_MSG = 2013
_WRITES = frozenset({"insert", "update", "delete", "createIndexes", "findAndModify"})
#: Commands that are answered with an error of `ERRORS`, if not all of them are.
_ONLY = {"full": _WRITES, "read-only": _WRITES, "wrong password": frozenset({"saslStart"})}

#: Errors of servers: code and text.
ERRORS = {
    "full": (14031, "Write failed: out of disk space"),
    "read-only": (13, "not authorized on nablafx to execute command"),
    "not primary": (10107, "not primary"),
    "broken": (8, "the server has an internal problem"),
    "wrong password": (18, "Authentication failed."),
}


class Server:
    """nx-27017 on a free port of this machine, with its data in a folder.

    Args:
        folder: folder for data and logs; created if missing.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.port = free_port()
        self.host = "127.0.0.1"
        self.process: subprocess.Popen | None = None

    def start(self) -> Server:
        """Start the server, always with the same port and data, and wait until it answers."""
        program = Path(sys.executable).with_name("nx-27017")
        own = ["--log-file", self.folder / "log", "--pid-file", self.folder / "pid"]
        place = ["--data-dir", self.folder, "--host", self.host, "-p", str(self.port)]
        self.process = subprocess.Popen(
            [program if program.exists() else shutil.which("nx-27017"), *place, *own],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self.folder,
        )
        with pymongo.MongoClient(self.host, self.port, serverSelectionTimeoutMS=int(1000 * PATIENCE)) as client:
            client.admin.command("ping")
        return self

    def kill(self) -> None:
        """Kill the server, as a power cut does."""
        self.process.kill()
        self.process.wait()

    @contextlib.contextmanager
    def paused(self):
        """Pause the server: it accepts connections and does not answer."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)


class Proxy:
    """Proxy before a server. Its attributes can be set at any time.

    Args:
        host: host of the server.
        port: port of the server.
        certificate: file with a certificate and its key, to accept TLS connections.

    Attributes:
        delay: delay of each reply in seconds.
        silent: accept requests and answer none.
        garbage: answer with meaningless bytes.
        error: key of `ERRORS`, the answer to all commands except hello, or to those in `_ONLY`.
        up: accept connections; False also closes the existing ones.
        turned_away: number of refused connections.
    """

    def __init__(self, host: str, port: int, certificate: Path | None = None) -> None:
        self.server = host, port
        self._tls = None
        if certificate is not None:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(certificate)
        self.delay, self.silent, self.garbage, self.error = 0.0, False, False, ""
        self.requests, self.turned_away = 0, 0
        self._up = True
        self._connections: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._listen, daemon=True).start()

    @property
    def up(self) -> bool:
        return self._up

    @up.setter
    def up(self, value: bool) -> None:
        self._up = value
        if not value:
            for connection in list(self._connections):
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.up = False
        self._listener.close()

    def _listen(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if not self._up:
                self.turned_away += 1
                client.close()
                continue
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        if self._tls is not None:
            try:
                client = self._tls.wrap_socket(client, server_side=True)
            except OSError:  # a client that does not speak TLS, or does not trust the certificate
                client.close()
                return
        with client, contextlib.suppress(OSError, EOFError), socket.create_connection(self.server) as server:
            self._connections |= {client, server}
            while True:
                request = _message(client)
                self.requests += 1
                answer = self._refused(request)
                if answer is None and not self.silent:
                    server.sendall(request)
                    answer = _message(server)
                time.sleep(self.delay)
                while self.silent:
                    time.sleep(0.02)
                    if not self._up:
                        return
                client.sendall(b"\xff" * 64 if self.garbage else answer or b"")

    def _refused(self, request: bytes) -> bytes | None:
        number, opcode = struct.unpack("<i", request[4:8])[0], struct.unpack("<i", request[12:16])[0]
        if not self.error or opcode != _OP_MSG:
            return None
        command = next(iter(bson.decode(request[21 : 21 + struct.unpack("<i", request[21:25])[0]])))
        if command in ("hello", "isMaster", "ismaster") or command not in _ONLY.get(self.error, {command}):
            return None
        code, text = ERRORS[self.error]
        body = bson.encode({"ok": 0.0, "code": code, "codeName": "Refused", "errmsg": text})
        return struct.pack("<iiiiib", 21 + len(body), number, number, _OP_MSG, 0, 0) + body


def new_certificate(folder: Path) -> Path:
    """Write a certificate of this machine, and its key, to one file; skip the test without openssl."""
    path = folder / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", path, "-out", folder / "alone.pem"]
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate")
    subprocess.run(command, check=True, capture_output=True)
    path.write_text(path.read_text() + (folder / "alone.pem").read_text())
    return path


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def _message(connection: socket.socket) -> bytes:
    head = _exactly(connection, 4)
    return head + _exactly(connection, struct.unpack("<i", head)[0] - 4)


def _exactly(connection: socket.socket, count: int) -> bytes:
    parts = b""
    while len(parts) < count:
        part = connection.recv(count - len(parts))
        if not part:
            raise EOFError
        parts += part
    return parts


@pytest.fixture(scope="session")
def running_server(tmp_path_factory):
    """Yield host and port of the server for tests that do not harm it, from the environment if it names one."""
    if VARIABLE in os.environ:
        yield parse_uri(os.environ[VARIABLE])["nodelist"][0]
        return
    server = Server(tmp_path_factory.mktemp("mongo")).start()
    yield server.host, server.port
    server.kill()


@pytest.fixture
def own_server(tmp_path):
    """Yield a server that a test may kill, never that of the environment."""
    if VARIABLE in os.environ:
        pytest.skip("the server of the environment is not ours to kill")
    server = Server(tmp_path / "mongo").start()
    yield server
    server.kill()


@pytest.fixture
def proxy(running_server):
    """Yield a proxy before the server."""
    between = Proxy(*running_server)
    yield between
    between.close()


def url_through(port: int, database: str, host: str = "127.0.0.1") -> str:
    """Return the URL of a database behind a port, with user and options if it is the environment's server."""
    given = os.environ.get(VARIABLE)
    if given is None:
        return f"mongodb://{host}:{port}/{database}"
    parts = parse_uri(given)
    login = f"{parts['username']}:{parts['password']}@" if parts.get("username") else ""
    return f"mongodb://{login}{host}:{port}/{database}?directConnection=true&authSource=admin"


@pytest.fixture
def database(running_server):
    """Yield a database for one test, dropped at its end."""
    host, port = running_server
    name = f"test_{uuid.uuid4().hex[:12]}"
    with pymongo.MongoClient(url_through(port, name, host)) as client:
        yield client[name]
        client.drop_database(name)


@pytest.fixture
def url(running_server, database):
    """Return the URL of the test's database."""
    return url_through(running_server[1], database.name, running_server[0])
