"""HTTP towards others: nothing hangs, nothing is asked too often, every failure has its family."""

import gzip
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import zstandard
from tests.fakes import certificate as certificates
from tests.fakes.faults import (
    Chunked,
    Drip,
    Instead,
    Mute,
    NoRange,
    Reset,
    Stall,
    Status,
    WrongRange,
)
from tests.fakes.upstream import FakeCache

from narbor import VERSION
from narbor.errors import Refused, Rejected, Unavailable
from narbor.net import http, wire
from narbor.net.credentials import BadAddress, BadCredentials

BODY = random.Random(1).randbytes(300_000)
PATH = "/nar/body.nar"


class Time:
    """A clock that moves when somebody sleeps, and a little whenever it is read."""

    def __init__(self, step: float = 0.0) -> None:
        self.now = 1_000_000.0
        self.step = step
        self.naps: list[float] = []

    def clock(self) -> float:
        self.now += self.step
        return self.now

    def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.now += seconds


@pytest.fixture
def cache() -> Iterator[FakeCache]:
    with FakeCache() as fake:
        fake.files[PATH] = BODY
        fake.headers[PATH] = {"ETag": '"one"'}
        yield fake


Client = Callable[..., http.Http]


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def client(time: Time) -> Iterator[Client]:
    made: list[http.Http] = []

    def make(**options: Any) -> http.Http:
        said = wire.Options(**{"proxies": {}, "read": 5.0, **options})
        made.append(http.Http(said, time.clock, time.sleep, time.clock, lambda: 0.5))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_a_document(cache: FakeCache, client: Client) -> None:
    cache.files["/x"] = b"hello"
    cache.headers["/x"] = {"Content-Type": "Text/Plain; charset=utf-8"}
    found = client().document(cache.url + "/x", 5)
    assert found == http.Document(cache.url + "/x", 200, "text/plain", b"hello")
    assert cache.asked[0].headers["user-agent"] == f"narbor/{VERSION}"


@pytest.mark.parametrize("code", [404, 410, 403])
def test_no_document(cache: FakeCache, client: Client, code: int) -> None:
    cache.fail("/x", Status(code))
    assert client().document(cache.url + "/x", 5) is None
    cache.fail("/x", Status(code))
    with pytest.raises(http.Gone, match=f"/x: HTTP {code}"):
        list(client().body(cache.url + "/x"))
    assert cache.count("/x") == 2


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_a_document_in_an_encoding(cache: FakeCache, client: Client, encoding: str) -> None:
    text = b"hello" * 100
    cache.files["/x"] = gzip.compress(text) if encoding == "gzip" else zstandard.compress(text)
    cache.headers["/x"] = {"Content-Encoding": encoding}
    found = client().document(cache.url + "/x", 500)
    assert found is not None
    assert found.content == b"hello" * 100


def test_a_document_that_is_too_long(cache: FakeCache, client: Client) -> None:
    cache.files["/x"] = b"hello!"
    with pytest.raises(http.WrongAnswer, match="/x: 6 bytes and more"):
        client().document(cache.url + "/x", 5)
    cache.files["/bomb"] = gzip.compress(bytes(50_000_000))
    cache.headers["/bomb"] = {"Content-Encoding": "gzip"}
    with pytest.raises(http.WrongAnswer, match="/bomb: "):
        client().document(cache.url + "/bomb", 1000)


def test_an_encoding_nobody_knows(cache: FakeCache, client: Client) -> None:
    cache.fail("/x", Instead(b"?", {"Content-Encoding": "rot13"}))
    with pytest.raises(http.WrongAnswer, match="rot13"):
        client().document(cache.url + "/x", 5)


@pytest.mark.parametrize(
    "fault", [Status(500), Status(502), Status(408), Reset(2), Reset(0, hard=True)]
)
def test_what_passes_is_tried_again(
    cache: FakeCache, client: Client, time: Time, fault: Status | Reset
) -> None:
    cache.files["/x"] = b"hello"
    cache.fail("/x", fault, fault, fault)
    found = client().document(cache.url + "/x", 5)
    assert found is not None
    assert found.content == b"hello"
    assert cache.count("/x") == 4
    assert time.naps == [0.25, 0.5, 1.0]


@pytest.mark.parametrize(("fault", "error"), [(Status(503), http.Failing), (Reset(0), wire.Lost)])
def test_what_does_not_pass_is_given_up(
    cache: FakeCache, client: Client, fault: Status | Reset, error: type[Unavailable]
) -> None:
    cache.files["/x"] = b"hello"
    cache.fail("/x", fault, always=True)
    with pytest.raises(error, match=r"/x: .*\(5 attempts\)"):
        client().document(cache.url + "/x", 5)
    with pytest.raises(error, match=r"/x: .*\(5 attempts\)"):
        list(client().body(cache.url + "/x"))
    assert cache.count("/x") == 10


def test_nobody_listens(client: Client) -> None:
    with FakeCache() as gone:
        url = gone.url
    with pytest.raises(wire.Lost, match=url):
        client(attempts=2).document(url + "/x", 5)


@pytest.mark.parametrize("code", [429, 503])
def test_retry_after_is_honoured(cache: FakeCache, client: Client, time: Time, code: int) -> None:
    cache.files["/x"] = b"hello"
    cache.fail("/x", Status(code, {"Retry-After": "7"}), Status(code, {"Retry-After": "86400"}))
    assert client().document(cache.url + "/x", 5) is not None
    assert time.naps == [7.0, 60.0]


def test_retry_after_as_a_date(cache: FakeCache, client: Client, time: Time) -> None:
    time.now = 784_111_777.0
    cache.files["/x"] = b"hello"
    cache.fail("/x", Status(429, {"Retry-After": "Sun, 06 Nov 1994 08:49:47 GMT"}))
    assert client().document(cache.url + "/x", 5) is not None
    assert time.naps == [10.0]


def test_credentials_that_are_wanted(cache: FakeCache, client: Client) -> None:
    cache.fail("/x", Status(401))
    with pytest.raises(http.Denied, match="/x: HTTP 401: credentials"):
        client().document(cache.url + "/x", 5)
    assert issubclass(http.Denied, Refused)
    assert cache.count("/x") == 1


def test_other_errors_are_not_tried_again(cache: FakeCache, client: Client) -> None:
    cache.fail("/x", Status(400))
    with pytest.raises(http.Failing, match="HTTP 400"):
        client().document(cache.url + "/x", 5)
    assert cache.count("/x") == 1


def test_tokens_and_netrc_go_to_their_host_alone(
    cache: FakeCache, client: Client, tmp_path: Path
) -> None:
    cache.files["/x"] = b"hello"
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password open\n")
    client(netrc=netrc).document(cache.url + "/x", 5)
    client(tokens={"127.0.0.1": "abc"}, netrc=netrc).document(cache.url + "/x", 5)
    client(tokens={"localhost": "abc"}).document(cache.url + "/x", 5)
    client().document(cache.url.replace("//", "//you:p%40ss@") + "/x", 5)
    sent = [asked.headers.get("authorization") for asked in cache.asked]
    assert sent == ["Basic bWU6b3Blbg==", "Bearer abc", None, "Basic eW91OnBAc3M="]


def test_credentials_do_not_follow_a_redirect(cache: FakeCache, client: Client) -> None:
    with FakeCache() as other:
        other.files["/y"] = b"hello"
        there = other.url.replace("127.0.0.1", "localhost") + "/y"
        cache.fail("/x", Status(302, {"Location": there}))
        found = client(tokens={"127.0.0.1": "abc"}).document(cache.url + "/x", 5)
        assert found is not None
        assert found.url == there
        assert cache.asked[0].headers["authorization"] == "Bearer abc"
        assert "authorization" not in other.asked[0].headers


def test_no_secret_stands_in_a_message(cache: FakeCache, client: Client, tmp_path: Path) -> None:
    cache.fail("/x", Status(400))
    with pytest.raises(http.Failing) as caught:
        client().document(cache.url.replace("//", "//you:sesame@") + "/x", 5)
    assert "sesame" not in str(caught.value)
    netrc = tmp_path / "netrc"
    netrc.write_text("machine h login me password sesame\nsesame sesame\n")
    with pytest.raises(BadCredentials, match="line 2") as refused:
        client(netrc=netrc)
    assert "sesame" not in str(refused.value)


def test_redirects(cache: FakeCache, client: Client) -> None:
    cache.files["/z"] = b"hello"
    cache.fail("/x", Status(301, {"Location": "y?a=b#c"}))
    cache.fail("/y?a=b", Status(307, {"Location": f"{cache.url}/z"}))
    found = client().document(cache.url + "/x", 5)
    assert found is not None
    assert (found.url, found.content) == (f"{cache.url}/z", b"hello")


def test_redirects_that_never_end(cache: FakeCache, client: Client) -> None:
    cache.fail("/x", Status(302, {"Location": "/x"}), always=True)
    with pytest.raises(http.WrongAnswer, match="/x leads to more than 10 redirects"):
        client().document(cache.url + "/x", 5)
    assert cache.count("/x") == 11


@pytest.mark.parametrize("location", ["", "file:///etc/passwd", "http://[", "mailto:a@b"])
def test_redirects_to_nowhere(cache: FakeCache, client: Client, location: str) -> None:
    cache.fail("/x", Status(302, {"Location": location}))
    with pytest.raises(http.WrongAnswer, match="redirects to"):
        client().document(cache.url + "/x", 5)


@pytest.mark.parametrize("url", ["ftp://h/x", "x", "http://", "http://h:99999/", "http://[::1/"])
def test_urls_that_are_none(client: Client, url: str) -> None:
    with pytest.raises(BadAddress):
        client().document(url, 5)


def test_odd_letters_in_a_url(cache: FakeCache, client: Client) -> None:
    cache.files["/a%20b%C3%A9%0D?q=1%20"] = b"hello"
    assert client().document(cache.url + "/a bé\r?q=1%20", 5) is not None


def test_sending(cache: FakeCache, client: Client) -> None:
    cache.files["/x"] = b"hello"
    answer = client().send("PUT", cache.url + "/x", 5, b"content", {"X-Y": "z"})
    assert answer is not None
    asked = cache.asked[0]
    assert (asked.method, asked.body, asked.headers["x-y"]) == ("PUT", b"content", "z")
    cache.fail("/x", Status(500))
    with pytest.raises(http.Failing):
        client().send("PUT", cache.url + "/x", 5, b"content")
    assert cache.count("/x") == 2


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body(cache: FakeCache, client: Client, chunked: bool) -> None:
    if chunked:
        cache.fail(PATH, Chunked())
    assert b"".join(client().body(cache.url + PATH)) == BODY


def test_a_body_goes_on_where_it_broke(cache: FakeCache, client: Client) -> None:
    cache.fail(PATH, Reset(100_000), Status(500), Reset(50_000))
    assert b"".join(client().body(cache.url + PATH)) == BODY
    ranges = [asked.headers.get("range") for asked in cache.asked]
    assert ranges == [None, "bytes=100000-", "bytes=100000-", "bytes=150000-"]
    assert [asked.headers.get("if-range") for asked in cache.asked[1:]] == ['"one"'] * 3


def test_a_body_that_is_reset(cache: FakeCache, client: Client) -> None:
    cache.fail(PATH, Reset(100_000, hard=True), Reset(10, hard=True), Reset(90_000, hard=True))
    assert b"".join(client().body(cache.url + PATH)) == BODY


def test_a_body_without_a_tag_goes_on(cache: FakeCache, client: Client) -> None:
    del cache.headers[PATH]
    cache.fail(PATH, Reset(100_000))
    assert b"".join(client().body(cache.url + PATH)) == BODY
    assert "if-range" not in cache.asked[1].headers


def test_a_server_without_ranges(cache: FakeCache, client: Client) -> None:
    cache.fail(PATH, Reset(100_000), NoRange())
    assert b"".join(client().body(cache.url + PATH)) == BODY


def test_a_body_that_changes_meanwhile(cache: FakeCache, client: Client) -> None:
    cache.fail(PATH, Reset(100_000))
    chunks = client().body(cache.url + PATH)
    next(chunks)
    cache.headers[PATH] = {"ETag": '"two"'}
    with pytest.raises(http.Changed, match='"one", now "two"'):
        list(chunks)


def test_a_range_that_begins_elsewhere(cache: FakeCache, client: Client) -> None:
    cache.fail(PATH, Reset(100_000), WrongRange())
    with pytest.raises(http.WrongAnswer, match="from 100000, got them from '100001'"):
        list(client().body(cache.url + PATH))


def test_an_encoded_body_is_read_anew(cache: FakeCache, client: Client) -> None:
    cache.files[PATH] = gzip.compress(BODY)
    cache.headers[PATH] = {"Content-Encoding": "gzip"}
    cache.fail(PATH, Reset(200_000))
    assert b"".join(client().body(cache.url + PATH)) == BODY
    assert cache.asked[0].headers["accept-encoding"] == "identity"
    assert "range" not in cache.asked[1].headers


def test_progress_makes_up_for_failures(cache: FakeCache, client: Client) -> None:
    cache.files[PATH] = bytes(12 << 20)
    cache.fail(PATH, *[Reset((1 << 20) + 1)] * 9)
    assert sum(map(len, client(attempts=2).body(cache.url + PATH))) == 12 << 20
    cache.fail(PATH, Reset(10), Reset(10))
    with pytest.raises(wire.Lost):
        list(client(attempts=2).body(cache.url + PATH))


@pytest.mark.parametrize("fault", [Stall(10), Stall(0), Mute()])
def test_a_stall_is_a_broken_connection(
    cache: FakeCache, client: Client, fault: Stall | Mute
) -> None:
    cache.fail(PATH, fault)
    assert b"".join(client(read=0.1).body(cache.url + PATH)) == BODY
    assert cache.count(PATH) == 2


@pytest.mark.parametrize("head", [False, True])
def test_a_slow_drip_ends(cache: FakeCache, client: Client, time: Time, head: bool) -> None:
    time.step = 0.5
    cache.fail(PATH, Drip(head), always=True)
    with pytest.raises(wire.Lost, match="1024/s are due"):
        list(client(attempts=2).body(cache.url + PATH))
    with pytest.raises(wire.Lost, match="1024/s are due"):
        client(attempts=2).document(cache.url + PATH, 1 << 20)
    assert cache.count(PATH) == 4


def test_a_slow_reader_is_no_slow_server(cache: FakeCache, client: Client, time: Time) -> None:
    came = 0
    for chunk in client(patience=1.0).body(cache.url + PATH):
        came += len(chunk)
        time.now += 1000
    assert came == len(BODY)
    assert cache.count(PATH) == 1


def test_abandoning_ends_what_is_waited_for(cache: FakeCache) -> None:
    # With real pauses: an hour each, were they not cut short.
    options = wire.Options(proxies={}, read=3600.0, pause=3600.0, longest_pause=3600.0)
    with closing(http.Http(options, chance=lambda: 0.5)) as client, ThreadPoolExecutor(1) as pool:
        for fault in (Stall(10), Mute(), Status(500)):
            cache.fail(PATH, fault)
            waiting = pool.submit(b"".join, client.body(cache.url + PATH))
            cache.wait_for(PATH)
            with client.abandoned(), pytest.raises(Unavailable, match=PATH):
                waiting.result(timeout=30)
        assert b"".join(client.body(cache.url + PATH)) == BODY


def test_the_rate_is_held(cache: FakeCache, client: Client, time: Time) -> None:
    begun = time.now
    assert b"".join(client(rate=50_000.0).body(cache.url + PATH)) == BODY
    assert time.now - begun == pytest.approx(6.0, abs=0.01)


@pytest.mark.parametrize("rules", ["", "127.0.0.1", "other, 127.0.0.1", "*", "example.org"])
def test_proxies(cache: FakeCache, client: Client, rules: str) -> None:
    cache.files["/x"] = b"direct"
    with FakeCache() as proxy:
        proxy.files[f"{cache.url}/x"] = b"proxy"
        found = client(proxies={"http": proxy.url, "no": rules}).document(cache.url + "/x", 99)
    assert found is not None
    direct = rules not in ("", "example.org")
    assert found.content == (b"direct" if direct else b"proxy")


def test_no_file_of_authorities(client: Client, tmp_path: Path) -> None:
    with pytest.raises(wire.BadAuthority, match=r"ca[.]pem"):
        client(ca_file=tmp_path / "ca.pem")


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that nobody else knows, with its key."""
    return certificates.make(tmp_path_factory.mktemp("tls") / "both.pem")


def test_tls(certificate: Path, client: Client) -> None:
    with FakeCache(certificate) as cache:
        cache.files["/x"] = BODY
        knowing = client(ca_file=certificate)
        assert knowing.document(cache.url + "/x", len(BODY)) is not None
        assert b"".join(knowing.body(cache.url + "/x")) == BODY
        with pytest.raises(wire.Untrusted, match="self-signed"):
            client().document(cache.url + "/x", len(BODY))
        assert cache.count("/x") == 2


def test_no_way_back_from_tls(certificate: Path, cache: FakeCache, client: Client) -> None:
    with FakeCache(certificate) as secure:
        secure.fail("/x", Status(302, {"Location": f"{cache.url}/x"}))
        with pytest.raises(http.WrongAnswer, match=f"redirects to {cache.url}/x, which is not TLS"):
            client(ca_file=certificate).document(secure.url + "/x", 9)
    assert cache.asked == []


def test_families() -> None:
    assert issubclass(http.WrongAnswer, Rejected)
    for error in (wire.Lost, http.Gone, http.Changed, http.Failing, wire.Untrusted):
        assert issubclass(error, Unavailable)
