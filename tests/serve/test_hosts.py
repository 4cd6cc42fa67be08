"""Hosts with answers of their own, over the wire: nothing of one host is given at another's."""

from collections.abc import Iterator

import pytest

from tests.serve.program import site_door
from tests.serve.running import Running, program
from tests.serve.test_front import answers, talk

ROOT = next(iter(site_door().gateway.dnslinks.values()))
SITE = f"{ROOT.removeprefix('/ipfs/')}.ipfs.gateway.example"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Run a server that is a gateway by host too."""
    with program(tmp_path_factory.mktemp("hosts"), site=1) as running:
        yield running


def get(target: str, host: str, more: str = "", method: str = "GET") -> bytes:
    """Spell a request."""
    return f"{method} {target} HTTP/1.1\r\nHost: {host}\r\n{more}\r\n".encode()


@pytest.mark.parametrize("path", ["/nix-cache-info", "/healthz"])
@pytest.mark.parametrize("host", [SITE, "site.example", "Site.Example:8642"])
def test_what_is_kept_for_us_is_not_given_at_other_hosts(
    server: Running, path: str, host: str
) -> None:
    ours, theirs = get(path, "us.example"), get(path, host)
    last = get("/nothing", "us.example", "Connection: close\r\n")
    heard = talk(server, ours, ours, theirs, ours, theirs, last)
    first, again, site, then, more, _ = answers(heard)
    assert first == again == then
    assert site == more == (200, b"the site's " + path.strip("/").encode())
    assert first[0] == 200 and first != site


def test_what_a_site_lacks_is_nowhere_there(server: Running) -> None:
    asked = [get(path, SITE) for path in ("/probe", "/metrics", "/nothing.narinfo")]
    heard = talk(server, *asked, get("/x", SITE, "Connection: close\r\n", "POST"))
    assert [status for status, _ in answers(heard)] == [404, 404, 404, 405]


def test_a_proxy_tells_the_host(server: Running) -> None:
    told = f"X-Forwarded-Host: {SITE}\r\n"
    heard = talk(
        server,
        get("/nix-cache-info", "us.example", told),
        get(f"http://{SITE}/nix-cache-info", "us.example"),
        get(f"http://{SITE}", "us.example"),
        get("http://us.example/healthz?x=1", SITE, "Connection: close\r\n"),
    )
    page = (200, b"the site's nix-cache-info")
    assert answers(heard) == [page, page, (200, b"the site's index.html"), (200, b"ok\n")]


def test_a_tunnel_leads_to_us_and_to_nobody_else(server: Running) -> None:
    opened = b"HTTP/1.1 200 Connection established\r\n\r\n"
    inside = get("/nix-cache-info", SITE, "Connection: close\r\n")
    for target in (f"{SITE}:80", f"127.0.0.1:{server.port}", "gateway.example:80"):
        tunnel = get(target, target, method="CONNECT")
        for said in ((tunnel, inside), (tunnel + inside,)):
            heard = talk(server, *said)
            assert heard.startswith(opened)
            assert answers(heard[len(opened) :]) == [(200, b"the site's nix-cache-info")]
    other = get("other.example:80", "other.example:80", "Connection: close\r\n", "CONNECT")
    assert not talk(server, other).startswith(b"HTTP/1.1 2")
