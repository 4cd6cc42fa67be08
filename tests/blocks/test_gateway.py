"""A gateway as a source of blocks, and a URL that may be a gateway or a narbor."""

from collections.abc import Iterator
from random import Random

import pytest

from narbor.blocks.codec import Codec
from narbor.blocks.either import MANY, EitherSource
from narbor.blocks.gateway import GatewaySource
from narbor.errors import NarborError, Unavailable
from narbor.formats import exchange, frames
from narbor.names import cid, peerkey
from narbor.names.peerkey import PeerKey
from narbor.net.http import Http
from narbor.net.wire import Options
from tests.fakes.faults import Instead, Reset, Status
from tests.fakes.upstream import FakeCache

DATA = [Random(n).randbytes(300) for n in range(4)]
NAMES = [cid.raw(data) for data in DATA]
HASTY = Options(connect=1.0, read=1.0, attempts=1)


@pytest.fixture
def http() -> Iterator[Http]:
    made = Http(HASTY)
    yield made
    made.close()


@pytest.fixture
def gateway() -> Iterator[FakeCache]:
    with FakeCache() as made:
        for name, data in zip(NAMES[:3], DATA, strict=False):
            made.files[f"/ipfs/{cid.text(name)}?format=raw"] = data
        yield made


def test_a_gateway_gives_what_it_has(http: Http, gateway: FakeCache) -> None:
    source = GatewaySource(gateway.url + "/", http)
    assert list(source.fetch(NAMES)) == list(zip(NAMES[:3], DATA, strict=False))
    assert gateway.asked[0].headers["accept"] == "application/vnd.ipld.raw"
    assert source.name == gateway.url


def test_its_name_has_no_secrets(http: Http) -> None:
    assert GatewaySource("http://user:word@127.0.0.1:1", http).name == "http://127.0.0.1:1"


@pytest.mark.parametrize("fault", [Status(500), Status(429), Reset(10), Status(401)])
def test_a_broken_gateway_says_so(http: Http, gateway: FakeCache, fault: Status | Reset) -> None:
    gateway.fail("*", fault, always=True)
    with pytest.raises(NarborError):
        list(GatewaySource(gateway.url, http).fetch(NAMES))


def test_records_come_from_gateways_and_from_routers(http: Http) -> None:
    name = PeerKey(bytes(32)).name
    text, kind = peerkey.text(name), {"Content-Type": "application/vnd.ipfs.ipns-record"}
    gate, router = f"/ipns/{text}?format=ipns-record", f"/routing/v1/ipns/{text}"
    with FakeCache() as cache:
        source = EitherSource(cache.url, http)
        assert source.record(name) is None
        cache.files[router] = b"not found, as a text"
        assert source.record(name) is None
        cache.headers[router] = kind
        cache.files[router] = b"a record"
        assert source.record(name) == b"a record"
        cache.fail(gate, Status(500), always=True)
        assert source.record(name) == b"a record"
        del cache.files[router]
        with pytest.raises(Unavailable, match="500"):
            source.record(name)
        cache.fail(gate)
        cache.files[gate], cache.headers[gate] = bytes(10_241), kind
        with pytest.raises(NarborError):
            source.record(name)
        cache.files[gate] = b"another"
        assert source.record(name) == b"another"


def test_an_answer_that_is_too_long_is_refused(http: Http, gateway: FakeCache) -> None:
    gateway.fail("*", Instead(bytes((4 << 20) + 1)))
    with pytest.raises(NarborError):
        list(GatewaySource(gateway.url, http).fetch(NAMES))


@pytest.mark.parametrize("status", [404, 405, 501])
def test_what_exchanges_no_blocks_may_be_a_gateway(
    http: Http, gateway: FakeCache, status: int
) -> None:
    gateway.fail("/blocks/get", Status(status), always=True)
    source = EitherSource(gateway.url, http)
    assert source.together() == MANY
    assert dict(source.fetch(NAMES)) == dict(zip(NAMES[:3], DATA, strict=False))
    assert source.together() == 1
    assert list(source.fetch(NAMES[:1])) == [(NAMES[0], DATA[0])]
    assert gateway.count("/blocks/get") == 1


def test_a_narbor_is_asked_for_many_at_once(http: Http, gateway: FakeCache) -> None:
    codec = Codec(3)
    parts = []
    for name, data in zip(NAMES, DATA, strict=True):
        frame = codec.compress(data)
        parts += [frames.head(name, len(frame), len(data), 3), frame]
    gateway.files["/blocks/get"] = b"".join(parts) + exchange.closing(len(NAMES))
    source = EitherSource(gateway.url, http)
    for _ in range(2):
        assert dict(source.fetch(NAMES)) == dict(zip(NAMES, DATA, strict=True))
    assert gateway.counts() == {"/blocks/get": 2}
    assert source.together() == MANY


def test_nobody_there(http: Http) -> None:
    with pytest.raises(Unavailable):
        list(EitherSource("http://127.0.0.1:1", http).fetch(NAMES))
