"""The application, driven by hand as an ASGI server drives it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from narbor.doors.http import Answer, Request
from narbor.doors.nix import NixDoor
from narbor.errors import Unavailable
from narbor.serve.app import SMALL, App
from narbor.serve.metrics import Metrics
from narbor.serve.ready import FRESH
from tests.fakes.library import FakeLibrary, world

MISS = f"/{'0' * 32}.narinfo"


@dataclass
class Clock:
    """A clock that stands still until told."""

    now: float = 100.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Said:
    """What came of one request."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    whole: bool = False


class Client:
    """Speaks ASGI. `leaves_after` pieces of a body it goes away."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.leaves_after: int | None = None

    async def ask(self, path: str, method: str = "GET", query: str = "", **headers: str) -> Said:
        """Ask and return the answer."""
        said, left, pieces = Said(), asyncio.Event(), 0

        async def receive() -> dict[str, Any]:
            await left.wait()
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            nonlocal pieces
            if message["type"] == "http.response.start":
                said.status = message["status"]
                said.headers = {k.decode(): v.decode() for k, v in message["headers"]}
                return
            said.body += message["body"]
            said.whole = not message["more_body"]
            pieces += 1
            if pieces == self.leaves_after:
                left.set()
                await asyncio.sleep(0)

        named = [(k.replace("_", "-").encode(), v.encode()) for k, v in headers.items()]
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode("utf-8", "surrogateescape").replace(b"\xff", b"%FF"),
            "query_string": query.encode(),
            "headers": named,
            "http_version": "1.1",
            "client": ("127.0.0.1", 1),
        }
        await self.app(scope, receive, send)
        return said


Scenario = Callable[[Client, FakeLibrary, Clock], Awaitable[None]]


def play(scenario: Scenario, *others: Any) -> FakeLibrary:
    """Run a scenario against an app over a filled library, then end the app."""
    library, clock = FakeLibrary(), Clock()
    world(library)

    async def whole() -> None:
        app = App((*others, NixDoor(library)), library, Metrics(), clock=clock)
        try:
            await scenario(Client(app), library, clock)
        finally:
            await end(app)

    asyncio.run(whole())
    return library


async def end(app: App) -> list[str]:
    """Tell the app to start and to end, as servers do; return what it says."""
    events = iter(("lifespan.startup", "lifespan.shutdown"))
    said: list[str] = []

    async def receive() -> dict[str, Any]:
        return {"type": next(events)}

    async def send(message: dict[str, Any]) -> None:
        said.append(message["type"])

    await app({"type": "lifespan"}, receive, send)
    return said


def narinfo_path(library: FakeLibrary, name: str = "hello-2.12") -> str:
    """Return where an item's narinfo is."""
    part = next(part for part, item in library.items.items() if item.path.name == name)
    return f"/{part}.narinfo"


def test_the_end_closes_the_library() -> None:
    library = FakeLibrary()
    said = asyncio.run(end(App((), library, Metrics())))
    assert said == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert library.closed


def test_a_hot_answer_asks_neither_door_nor_library() -> None:
    async def scenario(client: Client, library: FakeLibrary, clock: Clock) -> None:
        path = narinfo_path(library)
        first = await client.ask(path)
        asked = list(library.asked)
        clock.now += FRESH - 0.01
        for _ in range(5):
            again = await client.ask(path)
            assert (again.status, again.headers, again.body) == (200, first.headers, first.body)
        head = await client.ask(path, "HEAD")
        assert (head.status, head.headers, head.body) == (200, first.headers, b"")
        assert library.asked == asked

    play(scenario)


def test_misses_are_hot_too() -> None:
    async def scenario(client: Client, library: FakeLibrary, clock: Clock) -> None:
        assert (await client.ask(MISS)).status == 404
        asked = list(library.asked)
        assert (await client.ask(MISS)).status == 404
        assert library.asked == asked

    play(scenario)


def test_small_archives_are_hot_and_large_ones_are_not() -> None:
    async def scenario(client: Client, library: FakeLibrary, clock: Clock) -> None:
        for size, hot in ((SMALL // 2, True), (SMALL * 2, False)):
            item = library.add(f"x{size}", b"x" * size)
            url = f"/nar/{item.seal.digest.nix32}.nar"
            head = await client.ask(url, "HEAD")
            assert (head.body, head.headers["content-length"]) == (b"", str(item.seal.size))
            first = await client.ask(url)
            before = list(library.asked)
            again = await client.ask(url)
            assert (library.asked == before) is hot
            assert first.body == again.body == library.archives[item.seal.digest]
            assert first.headers == again.headers == head.headers
            part = await client.ask(url, range="bytes=3-7")
            assert (part.status, part.body) == (206, again.body[3:8])

    play(scenario)


def test_head_first_makes_get_hot() -> None:
    async def scenario(client: Client, library: FakeLibrary, clock: Clock) -> None:
        path = narinfo_path(library)
        head = await client.ask(path, "HEAD")
        asked = list(library.asked)
        got = await client.ask(path)
        assert head.body == b""
        assert got.body.startswith(b"StorePath: ")
        assert head.headers == got.headers
        assert library.asked == asked

    play(scenario)


def test_after_a_change_the_old_answer_is_soon_gone() -> None:
    async def scenario(client: Client, library: FakeLibrary, clock: Clock) -> None:
        assert (await client.ask(MISS)).status == 404
        library.items["0" * 32] = library.add("new", b"new")
        clock.now += FRESH + 0.01
        assert (await client.ask(MISS)).status == 404, "given while the version is looked at"
        while library.asked[-1] != "version":
            await asyncio.sleep(0)
        for _ in range(1000):
            if (await client.ask(MISS)).status == 200:
                break
            await asyncio.sleep(0.001)
        else:
            raise AssertionError("the change was never seen")

    play(scenario)


def test_after_a_pause_nothing_old_is_given() -> None:
    async def scenario(client: Client, library: FakeLibrary, clock: Clock) -> None:
        assert (await client.ask(MISS)).status == 404
        library.items["0" * 32] = library.add("new", b"new")
        clock.now += 2 * FRESH
        assert (await client.ask(MISS)).status == 200

    play(scenario)


def test_a_look_keeps_what_did_not_change() -> None:
    async def scenario(client: Client, library: FakeLibrary, clock: Clock) -> None:
        path = narinfo_path(library)
        await client.ask(path)
        for _ in range(20):
            clock.now += FRESH + 0.01
            before = len(library.asked)
            await client.ask(path)
            while len(library.asked) == before:
                await asyncio.sleep(0)
            await asyncio.sleep(0.01)
            assert library.asked[before:] == ["version"]

    play(scenario)


def test_conditions_and_queries_are_never_answered_from_memory() -> None:
    async def scenario(client: Client, library: FakeLibrary, clock: Clock) -> None:
        path = narinfo_path(library)
        first = await client.ask(path)
        tag = first.headers["etag"]
        assert (await client.ask(path, if_none_match=tag)).status == 304
        before = len(library.asked)
        assert (await client.ask(path, query="x=y")).status == 200
        assert len(library.asked) > before
        assert (await client.ask(path)).body == first.body

    play(scenario)


def test_a_library_that_is_away_is_503_and_is_not_remembered() -> None:
    async def scenario(client: Client, library: FakeLibrary, clock: Clock) -> None:
        path = narinfo_path(library)
        library.down = True
        assert (await client.ask(path)).status == 503
        assert (await client.ask("/readyz")).status == 503
        assert (await client.ask("/healthz")).status == 200
        library.down = False
        assert (await client.ask(path)).status == 200
        assert (await client.ask("/readyz")).status == 200

    play(scenario)


def test_a_look_that_fails_ends_the_hot_answers() -> None:
    async def scenario(client: Client, library: FakeLibrary, clock: Clock) -> None:
        path = narinfo_path(library)
        await client.ask(path)
        library.down = True
        clock.now += FRESH + 0.01
        assert (await client.ask(path)).status == 200
        clock.now += FRESH
        assert (await client.ask(path)).status == 503

    play(scenario)


def test_a_body_comes_whole_with_its_length() -> None:
    async def scenario(client: Client, library: FakeLibrary, clock: Clock) -> None:
        item = library.add("large", b"abc" * 700_000)
        said = await client.ask(f"/nar/{item.seal.digest.nix32}.nar")
        assert said.body == library.archives[item.seal.digest]
        assert said.headers["content-length"] == str(len(said.body))
        assert said.whole

    assert play(scenario).open_bodies == 0


def test_a_body_that_fails_on_the_way_never_ends_properly() -> None:
    async def scenario(client: Client, library: FakeLibrary, clock: Clock) -> None:
        item = library.add("large", b"abc" * 1_000_000)
        library.fails_at = 2_000_000
        said = await client.ask(f"/nar/{item.seal.digest.nix32}.nar")
        assert said.status == 200
        assert 0 < len(said.body) < item.seal.size
        assert not said.whole
        counts = (await client.ask("/metrics")).body
        assert b'narbor_bodies_short_total{why="library"} 1.0' in counts
        assert b"narbor_bodies_open 0.0" in counts

    assert play(scenario).open_bodies == 0


def test_a_body_that_is_less_than_promised_never_ends_properly() -> None:
    class Door:
        """A door that promises too much."""

        def answer(self, request: Request) -> Answer | None:
            """Give less than was said."""
            size = 3_000_000 if request.path == "/long" else 30
            return Answer(200, (("content-length", str(size)),), iter((bytes(size - 10),)))

    async def scenario(client: Client, library: FakeLibrary, clock: Clock) -> None:
        for path, size in (("/long", 2_999_990), ("/short", 20)):
            said = await client.ask(path)
            assert (said.status, len(said.body), said.whole) == (200, size, False)

    play(scenario, Door())


def test_a_body_that_fails_at_once_is_an_error() -> None:
    async def scenario(client: Client, library: FakeLibrary, clock: Clock) -> None:
        item = library.add("large", b"abc" * 1_000_000)
        library.fails_at = 0
        said = await client.ask(f"/nar/{item.seal.digest.nix32}.nar")
        assert (said.status, said.whole) == (503, True)

    assert play(scenario).open_bodies == 0


def test_a_client_that_leaves_ends_the_body() -> None:
    async def scenario(client: Client, library: FakeLibrary, clock: Clock) -> None:
        item = library.add("large", b"abc" * 5_000_000)
        client.leaves_after = 2
        said = await client.ask(f"/nar/{item.seal.digest.nix32}.nar")
        assert len(said.body) < item.seal.size / 2
        assert library.open_bodies == 0
        assert b'short_total{why="client"} 1.0' in (await client.ask("/metrics")).body

    play(scenario)


class Echo:
    """A door that says what it was asked, and one that may be kept although it should not."""

    def answer(self, request: Request) -> Answer | None:
        """Say path and query."""
        return Answer(200, (), ascii((request.method, request.path, request.query)).encode(), True)


def test_paths_that_are_not_utf8_reach_the_door_and_are_not_confused() -> None:
    async def scenario(client: Client, library: FakeLibrary, clock: Clock) -> None:
        said = await client.ask("/a\udcff", query="q=%20")
        assert said.body == rb"('GET', '/a\udcff', 'q=%20')"
        assert (await client.ask("/\u00fc")).body == rb"('GET', '/\xfc', '')"

    play(scenario, Echo())


class Broken:
    """A door whose store is away."""

    def answer(self, request: Request) -> Answer | None:
        """Fail."""
        raise Unavailable("away")


def test_an_error_of_a_door_is_an_answer() -> None:
    async def scenario(client: Client, library: FakeLibrary, clock: Clock) -> None:
        said = await client.ask("/x")
        assert (said.status, said.body) == (503, b"away\n")

    play(scenario, Broken())


def test_counts_hold_hot_and_other_answers() -> None:
    async def scenario(client: Client, library: FakeLibrary, clock: Clock) -> None:
        for _ in range(5):
            await client.ask(MISS)
        counts = (await client.ask("/metrics")).body
        assert b'narbor_requests_total{status="404"} 5.0' in counts
        assert b"narbor_ready_answers_total 4.0" in counts
        assert b"narbor_body_bytes_total %.1f" % (5 * len(b"not here\n")) in counts

    play(scenario)


def test_an_empty_body_is_whole() -> None:
    class Door:
        """A door with nothing in it."""

        def answer(self, request: Request) -> Answer | None:
            """Answer with nothing."""
            return Answer(200, (("content-length", "0"),), iter(()))

    async def scenario(client: Client, library: FakeLibrary, clock: Clock) -> None:
        said = await client.ask("/x")
        assert (said.status, said.body, said.whole) == (200, b"", True)

    play(scenario, Door())
