"""The server from its start to its end: workers, counts, TLS, sockets in the file system."""

import contextlib
import http.client
import os
import signal
import socket
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from tests.serve.running import MEGABYTE, PATIENCE, Running, alive, answers, eventually, program


def certificate(folder: Path, form: serialization.PrivateFormat) -> tuple[Path, Path]:
    """Make a certificate for localhost that vouches for itself."""
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    none, pem = serialization.NoEncryption(), serialization.Encoding.PEM
    (folder / "cert.pem").write_bytes(made.public_bytes(pem))
    (folder / "key.pem").write_bytes(key.private_bytes(pem, form, none))
    return folder / "cert.pem", folder / "key.pem"


@pytest.mark.parametrize(
    "form",
    [serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL],
    ids=["pkcs8", "traditional"],
)
def test_tls_with_http2(form: serialization.PrivateFormat, tmp_path: Path) -> None:
    cert, key = certificate(tmp_path, form)
    trust = ssl.create_default_context(cafile=str(cert))
    with (
        program(tmp_path, tls_cert=cert, tls_key=key) as running,
        httpx.Client(http2=True, verify=trust, trust_env=False) as client,
    ):
        answer = client.get(f"https://localhost:{running.port}/nix-cache-info")
        assert (answer.status_code, answer.http_version) == (200, "HTTP/2")
        assert answer.text.startswith("StoreDir: /nix/store\n")
        made = set(tmp_path.glob("**/*.pem")) - {cert, key}
        assert all(path.parent.stat().st_mode & 0o77 == 0 for path in made)
        # Who holds an idle connection of HTTP/2 is waited for, half a minute long.
        client.close()
        assert running.stop() == 0
    assert set(tmp_path.glob("**/*.pem")) == {cert, key}, "the converted key is gone"


def listens(path: Path) -> bool:
    """Tell whether somebody accepts connections on a socket in the file system."""
    with socket.socket(socket.AF_UNIX) as trial:
        return trial.connect_ex(str(path)) == 0


def test_a_socket_in_the_file_system(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with program(tmp_path, listen=f"unix:{path}") as running:
        eventually(lambda: listens(path))
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(path))) as client:
            assert client.get("http://x/healthz").text == "ok\n"
        assert running.stop() == 0
    assert not path.exists()


def pids(running: Running, count: int) -> set[int]:
    """Ask until `count` workers have answered."""
    found: set[int] = set()

    def all_found() -> bool:
        # While a worker is replaced, connections may be refused or reset.
        with contextlib.suppress(OSError, http.client.HTTPException):
            found.add(running.probe()["pid"])
        return len(found) == count

    eventually(all_found)
    return found


def test_counts_are_those_of_all_workers(tmp_path: Path) -> None:
    with program(tmp_path, workers=2) as running:
        workers = pids(running, 2)
        for _ in range(20):
            assert running.get("/nix-cache-info")[0] == 200
            assert running.get("/nothing")[0] == 404

        def counted() -> bool:
            text = running.get("/metrics")[1].decode()
            misses = [line for line in text.splitlines() if 'requests_total{status="404"}' in line]
            return misses == ['narbor_requests_total{status="404"} 20.0']

        eventually(counted)
        assert pids(running, 2) == workers


def test_a_worker_that_dies_is_replaced(tmp_path: Path) -> None:
    with program(tmp_path) as running:
        (first,) = pids(running, 1)
        os.kill(first, signal.SIGKILL)
        eventually(lambda: not alive(first))
        assert pids(running, 1) != {first}


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_its_end_lets_bodies_finish_and_closes_idle_connections(
    how: signal.Signals, tmp_path: Path
) -> None:
    size = 30 * MEGABYTE
    with (
        program(tmp_path, size=size, workers=2) as running,
        httpx.Client(trust_env=False) as idle,
        httpx.Client(trust_env=False, timeout=PATIENCE) as client,
    ):
        workers = pids(running, 2)
        idle.get(f"http://127.0.0.1:{running.port}/healthz")
        with client.stream("GET", f"http://127.0.0.1:{running.port}/big") as answer:
            parts = answer.iter_raw(1000)
            got = len(next(parts))
            running.process.send_signal(how)
            eventually(lambda: not answers(running.port))
            got += sum(map(len, parts))
        assert got == size
        assert running.process.wait(PATIENCE) == 0
        assert not any(map(alive, workers))


def test_its_end_waits_for_nobody_for_ever(tmp_path: Path) -> None:
    with (
        program(tmp_path, size=400 * MEGABYTE, patience=1) as running,
        socket.create_connection(("127.0.0.1", running.port), PATIENCE) as client,
    ):
        workers = pids(running, 1)
        client.sendall(b"GET /big HTTP/1.1\r\nhost: x\r\n\r\n")
        assert client.recv(1) == b"H"
        running.process.send_signal(signal.SIGTERM)
        running.process.wait(PATIENCE)
        assert not any(map(alive, workers))
        assert not answers(running.port)


def test_workers_do_not_outlive_the_server(tmp_path: Path) -> None:
    with program(tmp_path, workers=2) as running:
        workers = pids(running, 2)
        running.process.kill()
        eventually(lambda: not any(map(alive, workers)))
        assert not answers(running.port)


def test_an_address_in_use_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with program(tmp_path, listen=f"127.0.0.1:{port}") as running:
            assert running.process.wait(PATIENCE) != 0
            assert f"http://127.0.0.1:{port}: Address already in use" in running.log.read_text()


def test_the_access_log_has_all_workers(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    with program(tmp_path, workers=2, access=log) as running:
        for _ in range(10):
            running.get("/nix-cache-info")
        running.get("/nothing?x=%20")
        # A line is written when its answer is out.
        eventually(lambda: log.read_text().count("\n") >= 11)
    lines = log.read_text().splitlines()
    assert len([line for line in lines if '"GET /nix-cache-info HTTP/1.1" 200 51 ' in line]) == 10
    assert len([line for line in lines if '"GET /nothing?x=%20 HTTP/1.1" 404 ' in line]) == 1
