"""The agent ends in order, also with downloads that hang."""

import http.client
import signal
from pathlib import Path

import pytest

from narbor.formats import narinfo
from tests.cli.test_agent import ask, running
from tests.fakes.faults import Stall
from tests.fakes.upstream import FakeCache
from tests.library.cache import KEY
from tests.tasks.agent import world as worlds


@pytest.mark.parametrize("roots", [False, True])
def test_a_hanging_download_does_not_hold_up_the_end(tmp_path: Path, roots: bool) -> None:
    with worlds.made(tmp_path) as world, FakeCache() as cache:
        first, path = world.add("first"), world.add("a", 900_000)
        world.serve(cache, roots=roots)
        where = f"/{world.claims[path].url}"
        cache.fail(where, Stall(1000), always=True)
        told = ("--upstream", cache.url, "--trust", str(KEY.public))
        with running(tmp_path, *told) as server:
            for each in (first, path):
                url = narinfo.parse(ask(server, f"/{each.hash_part}.narinfo")[1]).url
                if each is first:
                    assert ask(server, f"/{url}")[1] == world.archives[first]
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
            connection.request("GET", f"/{url}")
            cache.wait_for(where)
            process = server._process
            assert process is not None
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
            connection.close()
        # Who is not done in time is killed, and tells nobody what it has.
        assert "refused" not in (tmp_path / "agent.log").read_text()
        cache.files.clear()
        with running(tmp_path, *told) as server:
            assert ask(server, f"/{first.hash_part}.narinfo")[0] == 200
