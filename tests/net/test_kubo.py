"""Kubo's RPC, over a fake that is like it and over the real one wherever it is on the PATH."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from tests.fakes.kubo import FakeKubo
from tests.peers import ipfs as peer

from narbor.errors import Rejected, Unavailable
from narbor.formats import car, ipns, unixfs
from narbor.names import cid, peerkey
from narbor.names.cid import Cid
from narbor.names.peerkey import PeerKey
from narbor.net.http import Denied, WrongAnswer
from narbor.net.kubo import Kubo, Pin
from narbor.net.kuborpc import BadBlock, Failing, Full, NotThere, Offline, Unsupported
from narbor.net.wire import Lost, Options

ONE, TWO = b"one" * 100, b"two" * 200
LEAF, OTHER = cid.raw(ONE), cid.raw(TWO)
LOST = cid.raw(b"lost")
FILE = unixfs.file_node([(LEAF, 300, 300), (OTHER, 600, 600)])
BROKEN = unixfs.file_node([(LEAF, 300, 300), (LOST, 4, 4)])
QUICK = Options(attempts=2, pause=0.0)


def load(kubo: Kubo, *blocks: tuple[Cid, bytes]) -> int:
    return kubo.load(car.write((), blocks))


ALL = ((LEAF, ONE), (OTHER, TWO), (cid.node(FILE), FILE), (cid.node(BROKEN), BROKEN))


@contextmanager
def fake(_: Path) -> Iterator[str]:
    with FakeKubo(online=False) as made:
        yield made.url


@contextmanager
def real(folder: Path) -> Iterator[str]:
    with peer.daemon(folder / "ipfs", "--offline") as made:
        yield made.url


@pytest.fixture(params=[fake, real], ids=["fake", "ipfs"])
def kubo(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kubo]:
    """A daemon, offline."""
    with request.param(tmp_path) as url:
        made = Kubo(url, QUICK)
        yield made
        made.close()


def test_version(kubo: Kubo) -> None:
    assert kubo.version() >= (0, 38)


def test_blocks_go_in_and_are_found(kubo: Kubo) -> None:
    assert load(kubo, *ALL, *ALL) == 8
    names = [name for name, _ in ALL]
    assert kubo.absent([*names, LOST, cid.node(b"x")]) == {LOST, cid.node(b"x")}
    assert kubo.absent([]) == set()
    assert [kubo.block(name) for name in names] == [block for _, block in ALL]
    with pytest.raises(NotThere, match=cid.text(LOST)):
        kubo.block(LOST)
    assert {name[2:] for name in names} <= {name[2:] for name in kubo.inventory()}


def test_all_below_is_weighed(kubo: Kubo) -> None:
    load(kubo, *ALL)
    assert kubo.weigh([cid.node(FILE)]) == 900 + len(FILE)
    assert kubo.weigh([cid.node(FILE), LEAF]) == 900 + len(FILE)
    with pytest.raises(NotThere) as caught:
        kubo.weigh([LEAF, cid.node(BROKEN)])
    assert caught.value.name == cid.text(LOST)
    load(kubo, (cid.raw(b""), b""))
    assert kubo.weigh([cid.raw(b"")]) == 0


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ([(LEAF, TWO)], "mismatch in content integrity"),
        ([(cid.raw(bytes(3 << 20)), bytes(3 << 20))], "over 2MiB"),
        ([(cid.node(b"\xff\xff"), b"\xff\xff")], "failed at block"),
    ],
)
def test_what_is_no_block_is_refused(kubo: Kubo, bad: list[tuple[Cid, bytes]], said: str) -> None:
    with pytest.raises(BadBlock, match=said):
        load(kubo, (OTHER, TWO), *bad, *ALL)


def test_what_is_no_car_is_refused(kubo: Kubo) -> None:
    whole = b"".join(car.write((), ALL))
    with pytest.raises(BadBlock, match="invalid header"):
        kubo.load([b"\x05hello, this is no CAR"])
    with pytest.raises(Unavailable):
        kubo.load([whole[:-5]])
    with pytest.raises(Unavailable, match="did not say"):
        kubo.load([])


def test_what_breaks_off_here_leaves_what_came(kubo: Kubo) -> None:
    def content() -> Iterator[bytes]:
        yield from car.write((), ALL[:2])
        raise Unavailable("here")

    with pytest.raises(Unavailable, match="here"):
        kubo.load(content())
    assert load(kubo, *ALL) == 4


def test_pins_have_names(kubo: Kubo) -> None:
    load(kubo, *ALL)
    name = "narbor/nixos-26.11/x y&z=ä"
    root = cid.node(FILE)
    assert kubo.pin_of(root) is None
    kubo.pin(root, name)
    assert kubo.pin_of(root) == Pin(root, cid.text(root), name)
    assert list(kubo.pins("nixos-26.11/x y&")) == [Pin(root, cid.text(root), name)]
    assert list(kubo.pins("narbor/x")) == []
    kubo.pin(root, "another")
    assert list(kubo.pins(name)) == []
    assert Pin(root, cid.text(root), "another") in list(kubo.pins(""))
    kubo.pin(LEAF, "another")
    assert {pin.root for pin in kubo.pins("another")} == {root, LEAF}
    kubo.unpin(cid.text(root))
    kubo.unpin(cid.text(root))
    assert [pin.root for pin in kubo.pins("another")] == [LEAF]
    with pytest.raises(Failing, match="300 bytes"):
        kubo.pin(LEAF, "x" * 300)


def test_a_pin_moves_with_its_name(kubo: Kubo) -> None:
    load(kubo, *ALL)
    kubo.pin(LEAF, "name")
    kubo.repin(cid.text(LEAF), cid.node(FILE))
    assert [pin.root for pin in kubo.pins("name")] == [cid.node(FILE)]
    with pytest.raises(NotThere):
        kubo.repin(cid.text(cid.node(FILE)), cid.node(BROKEN))
    assert [pin.root for pin in kubo.pins("name")] == [cid.node(FILE)]
    with pytest.raises(Failing, match="not recursively pinned"):
        kubo.repin(cid.text(LEAF), OTHER)


def test_what_lacks_a_block_is_not_pinned(kubo: Kubo) -> None:
    load(kubo, *ALL)
    with pytest.raises(NotThere, match=cid.text(LOST)):
        kubo.pin(cid.node(BROKEN), "name")
    assert list(kubo.pins("name")) == []


def test_a_record_is_handed_over(kubo: Kubo) -> None:
    key = PeerKey(bytes(range(32)))
    until = time.time_ns() + 10**13
    record = ipns.create(key, b"/ipfs/" + cid.text(LEAF).encode(), 1, until)
    kubo.name_put(peerkey.text(key.name), record, abroad=False)
    with pytest.raises(Offline, match="online mode"):
        kubo.name_put(peerkey.text(key.name), ipns.create(key, b"/ipfs/bafkqaaa", 2, until))


def test_nothing_is_announced_offline(kubo: Kubo) -> None:
    load(kubo, *ALL)
    with pytest.raises(Offline, match="online mode"):
        kubo.provide([LEAF])


def test_a_secret_is_asked_for() -> None:
    with FakeKubo() as made:
        made.secret = "Bearer s3cret"
        check_secret(made.url)


def test_the_real_one_asks_for_a_secret(tmp_path: Path) -> None:
    secret = {"me": {"AuthSecret": "bearer:s3cret", "AllowedPaths": ["/api/v0"]}}
    with peer.daemon(tmp_path / "ipfs", "--offline", **{"API.Authorizations": secret}) as daemon:
        check_secret(daemon.url)


def check_secret(url: str) -> None:
    place = url.removeprefix("http://")
    for tokens in ({}, {place: "wrong"}):
        kubo = Kubo(url, Options(tokens=tokens))
        with pytest.raises(Denied, match=r"Access Denied.*API\.Authorizations"):
            kubo.version()
        kubo.close()
    kubo = Kubo(f"{url}/api/v0/", Options(tokens={place: "s3cret"}))
    assert kubo.version() >= (0, 38)
    assert load(kubo, *ALL) == 4
    kubo.close()


# What only the fake can be told.


@pytest.fixture
def daemon() -> Iterator[FakeKubo]:
    with FakeKubo() as made:
        yield made


@pytest.fixture
def client(daemon: FakeKubo) -> Iterator[Kubo]:
    made = Kubo(daemon.url, QUICK)
    yield made
    made.close()


def test_a_large_import_that_fails_ends_early(daemon: FakeKubo, client: Kubo) -> None:
    daemon.room = 1 << 20
    given = []

    def blocks() -> Iterator[tuple[Cid, bytes]]:
        for number in range(2000):
            data = number.to_bytes(4, "big") * (1 << 16)
            given.append(number)
            yield cid.raw(data), data

    with pytest.raises(Full, match="no space left"):
        client.load(car.write((), blocks()))
    assert len(given) < 1000


def test_a_connection_that_is_cut(daemon: FakeKubo, client: Kubo) -> None:
    daemon.cut = 500
    with pytest.raises(Lost):
        load(client, *ALL)
    assert load(client, *ALL) == 4


@pytest.mark.parametrize(
    ("command", "call"),
    [
        ("dag/import", lambda kubo: load(kubo, *ALL)),
        ("refs", lambda kubo: kubo.absent([LEAF])),
        ("refs/local", lambda kubo: list(kubo.inventory())),
        ("pin/ls", lambda kubo: list(kubo.pins(""))),
        ("dag/stat", lambda kubo: kubo.weigh([LEAF])),
        ("pin/rm", lambda kubo: kubo.unpin(cid.text(LEAF))),
        ("provide/once", lambda kubo: kubo.provide([LEAF])),
    ],
)
def test_an_error_behind_the_answer_is_one(
    daemon: FakeKubo, client: Kubo, command: str, call: Callable[[Kubo], object]
) -> None:
    load(client, *ALL)
    client.pin(LEAF, "name")
    daemon.late[command] = "the datastore fell over"
    with pytest.raises(Failing, match="the datastore fell over"):
        call(client)


def test_pins_that_cannot_be_kept_are_no_success(daemon: FakeKubo, client: Kubo) -> None:
    said = b'{"Root":{"Cid":{"/":"bafkqaaa"},"PinErrorMsg":"ipld: could not find bafkreiaaaa"}}\n'
    daemon.instead["dag/import"] = (200, said + b'{"Stats":{"BlockCount":4}}\n')
    with pytest.raises(NotThere):
        load(client, *ALL)


@pytest.mark.parametrize(
    "said",
    [
        b"{",
        b"[]\n",
        b'{"Ref": 5}\n',
        b'{"Ref": "no CID"}\n',
        b'{"Err": "", "Ref": "../../bafkqaaa"}\n',
        b"x" * (2 << 20),
        b"[" * 200_000,
    ],
)
def test_nonsense_is_no_answer(daemon: FakeKubo, client: Kubo, said: bytes) -> None:
    daemon.instead["refs/local"] = daemon.instead["refs"] = (200, said)
    with pytest.raises(Rejected):
        list(client.inventory())
    with pytest.raises((Rejected, Failing)):
        client.absent([LEAF])


def test_an_error_in_the_midst_of_an_answer(daemon: FakeKubo, client: Kubo) -> None:
    said = b'{"Ref":"bafkqaaa","Err":""}\n{"Message":"halt","Code":0,"Type":"error"}\n'
    daemon.instead["refs/local"] = (200, said)
    came: list[Cid] = []
    with pytest.raises(Failing, match="halt"):
        for name in client.inventory():
            came.append(name)
    assert came == [cid.inline(b"")]
    daemon.instead["refs/local"] = (200, b'{"Ref":"","Err":"a bad disk"}\n')
    with pytest.raises(Failing, match="a bad disk"):
        list(client.inventory())


def test_a_block_that_is_another(daemon: FakeKubo, client: Kubo) -> None:
    daemon.instead["block/get"] = (200, TWO)
    with pytest.raises(WrongAnswer, match=cid.text(LEAF)):
        client.block(LEAF)
    daemon.instead["block/get"] = (200, bytes(3 << 20))
    with pytest.raises(WrongAnswer, match="more than"):
        client.block(LEAF)


@pytest.mark.parametrize(
    ("version", "said"),
    [("0.37.0", "too old"), ("0.5.0-rc1", "too old"), ("v1", "no version"), ("", "no version")],
)
def test_versions(version: str, said: str) -> None:
    with (
        FakeKubo(version) as made,
        closing(Kubo(made.url, QUICK)) as kubo,
        pytest.raises((Unsupported, WrongAnswer), match=said),
    ):
        kubo.version()


@pytest.mark.parametrize(("version", "command"), [("0.40.1", "routing"), ("0.42.0", "provide")])
def test_roots_are_announced_as_the_version_can(version: str, command: str) -> None:
    with FakeKubo(version) as made:
        kubo = Kubo(made.url, QUICK)
        load(kubo, *ALL)
        kubo.provide([LEAF, OTHER])
        assert made.provided == [cid.text(LEAF), cid.text(OTHER)]
        assert [name for name in made.asked if "provide" in name] == [
            "provide/once" if command == "provide" else "routing/provide"
        ]
        kubo.close()


def test_what_is_no_kubo(daemon: FakeKubo, client: Kubo) -> None:
    for status in (400, 404, 405):
        daemon.instead["version"] = (status, b"what?")
        with pytest.raises(Unsupported, match=f"HTTP {status}: what"):
            client.version()
    daemon.instead["version"] = (502, b"a proxy")
    with pytest.raises(Failing, match="502: a proxy"):
        client.version()


def test_nobody_there() -> None:
    with FakeKubo() as made:
        url = made.url
    with pytest.raises(Lost, match="does the daemon run"):
        Kubo(url, QUICK).version()


def test_a_daemon_that_is_slow_is_given_up(daemon: FakeKubo) -> None:
    daemon.hold = threading.Event()
    kubo = Kubo(daemon.url, Options(attempts=2, pause=0.0, read=0.05))
    with pytest.raises(Lost, match="timed out"):
        kubo.version()
    with pytest.raises(Lost, match="timed out"):
        Kubo(daemon.url, QUICK, patience=0.05).weigh([LEAF])
    daemon.hold.set()
    assert kubo.version() == (0, 44)
    kubo.close()


def test_giving_up_ends_what_is_under_way(daemon: FakeKubo) -> None:
    daemon.hold, over = threading.Event(), threading.Event()
    kubo = Kubo(daemon.url, QUICK, over=over)
    timer = threading.Timer(0.05, over.set)
    timer.start()
    with pytest.raises(Lost, match="given up"):
        kubo.weigh([LEAF])
    timer.join()
    daemon.hold.set()
