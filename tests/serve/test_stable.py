"""What a URL gives never changes: the real server, while the store under it is tended.

Nix resumes a download without asking whether the file is still the same.
"""

import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from random import Random

import httpx
import pytest

from narbor import config, wiring
from narbor.formats import narinfo, streams
from narbor.formats.narinfo import Narinfo
from narbor.names.digest import Digest
from narbor.names.keys import SecretKey
from narbor.serve.ready import FRESH
from narbor.tasks import farm
from narbor.tasks.farm import Product
from narbor.tasks.farm.recipes import Recipe, Written
from tests.cli.program import Program
from tests.cli.test_verify import damage
from tests.peers.servers import Server, free_port


def text(seed: str, size: int) -> Written:
    """Return words that are the same for one seed."""
    luck = Random(seed)
    return Written(" ".join(luck.randbytes(9).hex() for _ in range(size // 19)))


RECIPES = (
    Recipe("base", (("share/state", Written("{note}\n")), ("share/a", text("a", 400_000))), ()),
    Recipe(
        "top",
        (
            *((f"share/{n}", text(str(n), 30_000 + 900 * n)) for n in range(20)),
            ("share/big", text("big", 1_500_000)),
            ("share/empty", Written("")),
            ("bin/tool", Written("#!{base}/bin/sh\n", executable=True)),
        ),
        ("base",),
    ),
)
JUNK = (Recipe("junk", tuple((f"j{n}", text(f"j{n}", 900_000)) for n in range(9)), ()),)


@dataclass
class Promise:
    """What a URL gave when it was first asked for."""

    url: str
    etag: str
    body: bytes
    luck: Random = field(default_factory=lambda: Random(7))

    def holds(self, client: httpx.Client) -> None:
        """Ask for the whole and for parts of it again."""
        whole = client.get(self.url)
        assert (whole.status_code, whole.headers["etag"]) == (200, self.etag)
        assert whole.content == self.body
        for _ in range(8):
            start = self.luck.randrange(len(self.body))
            stop = self.luck.randrange(start, len(self.body))
            part = client.get(self.url, headers={"range": f"bytes={start}-{stop}"})
            assert part.status_code == 206
            assert part.headers["etag"] == self.etag
            assert part.content == self.body[start : stop + 1]
        tail = client.get(self.url, headers={"range": f"bytes={start}-"})
        assert tail.content == self.body[start:]


@dataclass(frozen=True, slots=True)
class Home:
    """A store that was mirrored from a farm in a folder."""

    narbor: Program
    folder: Path
    key: SecretKey
    products: tuple[Product, ...]

    def mirror(self, product: Product) -> None:
        """Bring an item in."""
        words = (str(self.folder), str(product.path), "--trust", str(self.key.public))
        self.run("mirror", *words)

    def run(self, *words: str, **more: str) -> str:
        """Run the program; all must have been done."""
        done = self.narbor(*words, **more)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @contextmanager
    def served(self) -> Iterator[httpx.Client]:
        """Run the server for a while."""
        port = free_port()
        argv = (str(Path(sysconfig.get_path("scripts"), "narbor")), "--home", str(self.narbor.home))
        words = ("serve", "--listen", f"127.0.0.1:{port}")
        with (
            Server((*argv, *words), port, self.narbor.home.with_suffix(".log")) as server,
            httpx.Client(base_url=server.url, trust_env=False, timeout=60) as client,
        ):
            yield client

    def told(self, client: httpx.Client) -> Narinfo:
        """Ask for the narinfo of the largest item, until what is kept in memory has run out."""
        time.sleep(2 * FRESH)
        return narinfo.parse(client.get(f"/{self.products[-1].path.hash_part}.narinfo").content)

    def promises(self, client: httpx.Client) -> list[Promise]:
        """Ask for all archives, in both renderings."""
        found = []
        for product in self.products:
            said = narinfo.parse(client.get(f"/{product.path.hash_part}.narinfo").content)
            assert said.compression == "zstd"
            for url in (f"/{said.url}", f"/nar/{product.seal.digest.nix32}.nar"):
                answer = client.get(url)
                assert answer.headers["accept-ranges"] == "bytes"
                found.append(Promise(url, answer.headers["etag"], answer.content))
            assert Digest("sha256", sha256(found[-2].body).digest()) == said.file_hash
            assert sha256(found[-1].body).digest() == said.seal.digest.value
        return found


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A store with two items."""
    key = SecretKey.generate("farm-1")
    folder = tmp_path / "farm"
    products = tuple(farm.build(RECIPES, "/nix/store", "one", key, folder))
    made = Home(Program(tmp_path / "home"), folder, key, products)
    made.mirror(products[-1])
    return made


def packs(home: Home) -> set[str]:
    """Return the names of the packs."""
    return {path.name for path in (home.narbor.home / "packs").iterdir()}


def test_across_restart_and_reindex(home: Home) -> None:
    with home.served() as client:
        first = home.promises(client)
        for promise in first:
            promise.holds(client)
    home.run("reindex")
    with home.served() as client:
        for promise in first:
            promise.holds(client)


@pytest.mark.parametrize("grace", ["0", "3600"])
def test_across_collection_while_it_serves(home: Home, grace: str) -> None:
    (junk,) = farm.build(JUNK, "/nix/store", "x", home.key, home.folder)
    home.mirror(junk)
    with home.served() as client:
        first = home.promises(client)
        before = packs(home)
        home.run("forget", str(junk.path))
        home.run("collect", NARBOR_GRACE=grace)
        home.run("collect", NARBOR_GRACE=grace)
        assert packs(home) - before, "frames were to move into another pack"
        for promise in first:
            promise.holds(client)
        assert client.get(f"/{junk.path.hash_part}.narinfo").status_code == 404
    with home.served() as client:
        for promise in first:
            promise.holds(client)


def test_across_repair_while_it_serves(home: Home) -> None:
    with home.served() as client:
        first = home.promises(client)
        damage(home.narbor)
        assert home.narbor("verify").returncode == 1
        home.run("verify", "--repair")
        for promise in first:
            promise.holds(client)


def test_what_a_repair_cannot_make_again_goes_and_the_narinfo_names_what_is_there(
    home: Home,
) -> None:
    with home.served() as client:
        first = home.promises(client)
        damage(home.narbor)
        # At another level the frame that was lost comes out otherwise.
        said = home.run("verify", "--repair", NARBOR_LEVEL="19")
        assert "retired" in said
        gone = [each for each in first if client.get(each.url).status_code == 404]
        assert len(gone) == 1 and gone[0].url.endswith(".zst")
        for promise in first:
            if promise is not gone[0]:
                promise.holds(client)
        told = home.told(client)
        assert f"/{told.url}" != gone[0].url
        body = client.get(f"/{told.url}")
        assert (body.status_code, len(body.content)) == (200, told.file_size)
        assert Digest("sha256", sha256(body.content).digest()) == told.file_hash
        opened = streams.decompress([body.content], told.compression, told.seal.size)
        assert sha256(b"".join(opened)).digest() == told.seal.digest.value


def test_a_rendering_that_went_is_replaced_by_the_plain_archive_until_another_is_written(
    home: Home,
) -> None:
    path = home.products[-1].path
    library = wiring.open_library(config.load(home.narbor.home, None, {}), write=True)
    library.catalogue.retire_rendering(path.base, "zstd")
    with home.served() as client:
        told = home.told(client)
        assert told.compression == "none"
        assert sha256(client.get(f"/{told.url}").content).digest() == told.seal.digest.value
        item = library.item(path.base)
        assert item is not None
        library.rendering(item, "zstd")
        library.close()
        told = home.told(client)
        assert told.compression == "zstd"
        assert len(client.get(f"/{told.url}").content) == told.file_size
