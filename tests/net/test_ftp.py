"""Files over FTP, from a server that fails on command."""

from collections.abc import Iterator

import pytest
from tests.fakes.ftp import FakeFtp

from narbor.net.ftp import BadFtpAddress, Ftp
from narbor.net.http import Gone
from narbor.net.wire import Lost

CONTENT = bytes(range(256)) * 1000


@pytest.fixture
def server() -> Iterator[FakeFtp]:
    """A server with one file."""
    with FakeFtp() as fake:
        fake.files["/pub/a b.tar"] = CONTENT
        yield fake


def client() -> Ftp:
    """A client that does not wait."""
    return Ftp(sleep=lambda seconds: None)


def test_a_file_comes(server: FakeFtp) -> None:
    assert b"".join(client().body(f"{server.url}/pub/a%20b.tar")) == CONTENT


def test_a_broken_transfer_goes_on_where_it_was(server: FakeFtp) -> None:
    server.breaks = [1000, 5000]
    server.busy = 0
    assert b"".join(client().body(f"{server.url}/pub/a%20b.tar")) == CONTENT
    assert server.starts == [0, 1000, 6000]


def test_a_busy_server_is_asked_again_and_not_for_ever(server: FakeFtp) -> None:
    server.busy = 2
    assert b"".join(client().body(f"{server.url}/pub/a%20b.tar")) == CONTENT
    server.busy = 3
    with pytest.raises(Lost, match="too many users"):
        b"".join(client().body(f"{server.url}/pub/a%20b.tar"))


def test_a_file_that_is_not_there_is_gone(server: FakeFtp) -> None:
    with pytest.raises(Gone, match="no such file"):
        b"".join(client().body(f"{server.url}/pub/b.tar"))


def test_nobody_there_is_lost() -> None:
    with FakeFtp() as fake:
        url = fake.url
    with pytest.raises(Lost):
        b"".join(client().body(f"{url}/pub/b.tar"))


@pytest.mark.parametrize(
    "url", ["ftp:///x", "ftp://host", "ftp://host/a%0d%0aDELE%20b", "http://host/x", "ftp://h:x/y"]
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(BadFtpAddress):
        b"".join(client().body(url))
