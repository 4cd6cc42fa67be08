"""Addresses, and keys in the form the server reads."""

import socket
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from narbor.serve import listening
from narbor.serve.listening import Address, AddressTaken, BadAddress, BadCertificate

Format = serialization.PrivateFormat


@pytest.mark.parametrize(
    ("text", "address", "url"),
    [
        ("127.0.0.1:80", Address("127.0.0.1", 80), "http://127.0.0.1:80"),
        ("localhost:0", Address("localhost", 0), "http://localhost:0"),
        ("[::1]:65535", Address("::1", 65535), "http://[::1]:65535"),
        ("unix:/run/x", Address("", 0, Path("/run/x")), "unix:/run/x"),
        ("unix:rel", Address("", 0, Path("rel")), "unix:rel"),
    ],
)
def test_addresses(text: str, address: Address, url: str) -> None:
    assert Address.parse(text) == address
    assert address.url(False) == url


@pytest.mark.parametrize(
    "text", ["", "80", ":80", "host", "host:", "host:x", "host:65536", "::1:80", "h:٣", "unix:"]
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(BadAddress):
        Address.parse(text)


def test_a_port_is_chosen_and_free() -> None:
    chosen = listening.claimed(Address("127.0.0.1", 0))
    assert chosen.port > 0
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", chosen.port))


def test_a_port_in_use_is_seen_though_it_could_be_shared() -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(AddressTaken):
            listening.claimed(Address("127.0.0.1", other.getsockname()[1]))


def test_a_name_nobody_knows() -> None:
    with pytest.raises(AddressTaken, match=r"name\.invalid"):
        listening.claimed(Address("name.invalid", 80))


def test_a_dead_socket_is_cleared_a_live_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "s"
    address = Address("", 0, path)
    assert listening.claimed(address) == address
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        with pytest.raises(AddressTaken, match="listens"):
            listening.claimed(address)
    listening.claimed(address)
    assert not path.exists()


def test_a_file_in_the_place_of_a_socket_stays(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("mine")
    with pytest.raises(AddressTaken, match="no socket"):
        listening.claimed(Address("", 0, path))
    assert path.read_text() == "mine"


@pytest.mark.parametrize("kind", ["rsa", "ec"])
def test_older_key_files_are_turned_into_pkcs8(kind: str, tmp_path: Path) -> None:
    key = rsa.generate_private_key(65537, 2048) if kind == "rsa" else made_ec()
    path = tmp_path / "key.pem"
    none = serialization.NoEncryption()
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, Format.TraditionalOpenSSL, none))
    made = listening.pkcs8(path)
    assert made is not None
    assert made == key.private_bytes(serialization.Encoding.PEM, Format.PKCS8, none)
    path.write_bytes(made)
    assert listening.pkcs8(path) is None


def made_ec() -> ec.EllipticCurvePrivateKey:
    """Return a new key."""
    return ec.generate_private_key(ec.SECP256R1())


def test_a_key_with_a_password_or_no_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(
        made_ec().private_bytes(
            serialization.Encoding.PEM, Format.PKCS8, serialization.BestAvailableEncryption(b"x")
        )
    )
    with pytest.raises(BadCertificate, match="without a password"):
        listening.pkcs8(path)
    path.write_text("nothing")
    with pytest.raises(BadCertificate):
        listening.pkcs8(path)
    with pytest.raises(BadCertificate):
        listening.pkcs8(tmp_path / "none")
