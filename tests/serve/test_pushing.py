"""A narbor that is pushed to, over real sockets: killed, with several workers, with a full disk."""

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from random import Random

import httpx
import pytest

from narbor import wiring
from narbor.blocks.narbor import NarborSource
from narbor.config import BadConfig, Config, Serve
from narbor.errors import Refused, Unavailable
from narbor.formats import exchange, unixfs
from narbor.formats.exchange import Outcome
from narbor.library import Library
from narbor.names import cid
from narbor.names.cid import Cid
from narbor.pins import Block, Incomplete
from narbor.pins.narbor import NarborHolder
from narbor.tasks.keep.collect import Circumstances, collect
from narbor.wiring import serving
from tests.serve.pushing import SENDER, configured, pushed
from tests.tasks.replicate.dags import Blocks
from tests.tasks.replicate.test_arrive import below, made
from tests.tasks.test_publish import KEY

LUCK = Random(5)


def tree(count: int) -> tuple[Cid, Blocks]:
    """Make a file of so many leaves of 300 KB; return its root and blocks."""
    leaves = {cid.raw(data): data for data in (LUCK.randbytes(300_000) for _ in range(count))}
    root = unixfs.file_node([(name, len(data), len(data)) for name, data in leaves.items()])
    return cid.node(root), {**leaves, cid.node(root): root}


@contextmanager
def store(home: Path) -> Iterator[Library]:
    """Open a store beside the server."""
    library = wiring.open_library(Config(home=home), write=True)
    try:
        yield library
    finally:
        library.close()


def collected(home: Path) -> None:
    """Collect, as `narbor collect` does."""
    with store(home) as library:
        at = Circumstances(2_000_000_000, 0, wiring.process(), wiring.alive)
        for _ in collect(library, at):
            continue


def test_a_cache_is_pushed_and_served(tmp_path: Path) -> None:
    root, blocks = made(tmp_path / "one", 6)
    with pushed(tmp_path, more=f'keys = ["{KEY.public}"]') as server, server.client() as http:
        holder = NarborHolder(http, server.url)
        lacking = holder.missing(sorted(blocks))
        assert lacking == set(blocks)
        holder.take((name, blocks[name]) for name in lacking)
        holder.keep("narbor/cache", root)
        assert holder.outcome == Outcome(cache=True, admitted=6)
        with store(server.home) as library:
            items = list(library.items())
            assert len(items) == 6
            assert library.catalogue.kept_root(f"{SENDER}/narbor/cache") == root
        for item in items:
            answer = httpx.get(f"{server.url}/{item.path.hash_part}.narinfo", trust_env=False)
            assert answer.status_code == 200
        # Who has no token gets all of it all the same.
        with server.client(token=None) as anybody:
            source = NarborSource(anybody, server.url)
            assert dict(source.fetch(list(blocks))) == blocks
    assert "Traceback" not in server.log.read_text()


def test_several_workers_take_in_one_push(tmp_path: Path) -> None:
    root, blocks = tree(40)
    parts = [list(blocks.items())[at::4] for at in range(4)]
    with pushed(tmp_path, workers=2) as server:

        def push(part: list[Block]) -> None:
            # Each over connections of its own: any worker may get it.
            for at in range(0, len(part), 2):
                with server.client() as http:
                    NarborHolder(http, server.url).take(part[at : at + 2])

        threads = [threading.Thread(target=push, args=(part,)) for part in parts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with server.client() as http:
            holder = NarborHolder(http, server.url)
            assert holder.missing(list(blocks)) == set()
            holder.keep("big", root)
            assert holder.kept("big") == root
    with store(server.home) as library:
        assert below(library, root) == blocks


def test_killed_in_the_middle_of_a_push(tmp_path: Path) -> None:
    """What was taken in is there, or taken by a collection; what was kept is whole."""
    (first, firsts), (second, seconds) = tree(10), tree(60)
    with pushed(tmp_path) as server, server.client() as http:
        holder = NarborHolder(http, server.url)
        holder.take(firsts.items())
        holder.keep("first", first)

        def until_killed() -> Iterator[Block]:
            for number, block in enumerate(seconds.items()):
                if number == 45:
                    server.kill()
                yield block

        with pytest.raises(Unavailable):
            holder.take(until_killed())
    with store(server.home) as library:
        assert below(library, first) == firsts
        here = set(seconds) - library.blocks.missing(seconds)
        assert 0 < len(here) < len(seconds)
        assert len(library.catalogue.admissions()) == 1
    collected(server.home)
    with store(server.home) as library:
        assert library.catalogue.admissions() == ()
        assert library.blocks.missing(seconds) == set(seconds)
        assert below(library, first) == firsts
    # And it goes on where it was.
    with pushed(tmp_path) as server, server.client() as http:
        holder = NarborHolder(http, server.url)
        assert holder.kept("first") == first
        with pytest.raises(Incomplete):
            holder.keep("second", second)
        holder.take(seconds.items())
        holder.keep("second", second)
    with store(server.home) as library:
        assert below(library, second) == seconds


def test_killed_while_a_body_is_read(tmp_path: Path) -> None:
    _, blocks = tree(30)
    with pushed(tmp_path) as server:

        def half() -> Iterator[bytes]:
            yield b"x" * 100_000
            server.kill()
            yield b"x" * 100_000

        headers = {
            "authorization": "Bearer a-token-of-the-laptop",
            "content-type": exchange.FRAMES,
            "content-length": "200000",
        }
        with pytest.raises(httpx.HTTPError), closing(httpx.Client(trust_env=False)) as client:
            client.post(f"{server.url}/blocks/put", content=half(), headers=headers)
    with store(server.home) as library:
        assert library.blocks.missing(blocks) == set(blocks)
        assert library.catalogue.admissions() == ()


def test_a_disk_without_room(tmp_path: Path) -> None:
    _, blocks = tree(3)
    with pushed(tmp_path, min_free="1000000TB") as server, server.client(attempts=1) as http:
        holder = NarborHolder(http, server.url)
        with pytest.raises(Unavailable, match=server.url):
            holder.take(blocks.items())
        assert holder.missing(list(blocks)) == set(blocks)


TOKENS = {
    "no file": "nothing-here.token",
    "a short one": "short.token",
    "an empty one": "empty.token",
}


@pytest.mark.parametrize("file", TOKENS.values(), ids=list(TOKENS))
def test_tokens_that_are_none(tmp_path: Path, file: str) -> None:
    (tmp_path / "short.token").write_text("12345")
    (tmp_path / "empty.token").write_text("\n")
    home = configured(tmp_path)
    tokens = {"laptop": tmp_path / "laptop.token", "desk": tmp_path / file}
    config = Config(home=home, serve=Serve(push_tokens=tokens))
    library = wiring.open_library(config)
    with pytest.raises(BadConfig, match=r"token"):
        serving.doors(config, library)
    same = replace_tokens(config, tokens["laptop"])
    with pytest.raises(BadConfig, match="two senders"):
        serving.doors(same, library)
    library.close()


def replace_tokens(config: Config, file: Path) -> Config:
    """Give two senders one token."""
    return Config(home=config.home, serve=Serve(push_tokens={"laptop": file, "desk": file}))


def test_who_may_not_push(tmp_path: Path) -> None:
    root, blocks = tree(1)
    with pushed(tmp_path) as server:
        for token in (None, "a-token-of-somebody", "a-token-of-the-lapto"):
            with server.client(token) as http:
                holder = NarborHolder(http, server.url)
                with pytest.raises(Refused, match="token"):
                    holder.take(blocks.items())
                with pytest.raises(Refused, match="token"):
                    holder.keep("name", root)
                with pytest.raises(Refused, match="token"):
                    holder.kept("name")
        with server.client(None) as http:
            assert NarborHolder(http, server.url).missing(list(blocks)) == set(blocks)
    with store(server.home) as library:
        assert library.blocks.missing(blocks) == set(blocks)
