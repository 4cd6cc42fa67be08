"""A world for an agent: signed items with roots, who serves them, and a store to begin with."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from random import Random

from narbor.dag import cachedir
from narbor.dag.profile import NARBOR
from narbor.formats import nar, narinfo
from narbor.formats.narinfo import Narinfo
from narbor.formats.vouched import vouch
from narbor.library import Library
from narbor.library.dags import Dags
from narbor.names import cid
from narbor.names.cid import Cid
from narbor.names.digest import Digest, Seal
from narbor.names.keys import Keyring
from narbor.names.storepath import StorePath
from narbor.net.http import Http
from narbor.net.wire import Options
from narbor.tasks.agent import Agent, Limits, opening
from narbor.tasks.agent.seeds import Seeds
from narbor.tasks.agent.spool import HELD
from narbor.tasks.keep.collect import Circumstances
from narbor.tasks.mirror.sources import Upstream
from narbor.upstream.cache import HttpCache
from narbor.upstream.nixstore import NixStore
from tests.fakes.sources import FakeSource
from tests.fakes.upstream import FakeCache
from tests.library import store
from tests.library.cache import KEY, path_of

RING = Keyring((KEY.public,))
HASTY = Options(connect=1.0, read=0.6, patience=1.0, attempts=1, pause=0.01, longest_pause=0.02)


def tree(
    seed: int, size: int, references: Sequence[StorePath], version: bytes = b""
) -> "list[nar.Event[bytes]]":
    """Return the events of a folder: random content, a script that names its needs, a link."""
    script = b"".join(b". %s/lib\n" % str(path).encode() for path in references)
    content = Random(seed).randbytes(size)
    files = ((b"content", content), (b"script", script), (b"version", version))
    events: list[nar.Event[bytes]] = [nar.Directory(b"")]
    for name, data in files:
        events.append(nar.File(name, name == b"script", len(data)))
        if data:
            events.append(nar.Data(data))
    target = f"{references[0]}/lib".encode() if references else b"content"
    events.append(nar.Symlink(b"zlink", target))
    return [*events, nar.END]


@dataclass
class World:
    """What there is: an origin with all items, and the bytes of each."""

    origin: Library
    archives: dict[StorePath, bytes] = field(default_factory=dict)
    claims: dict[StorePath, Narinfo] = field(default_factory=dict)

    def add(
        self,
        name: str,
        size: int = 1000,
        references: Sequence[StorePath] = (),
        *,
        path: StorePath | None = None,
        seed: int | None = None,
        version: bytes = b"",
    ) -> StorePath:
        """Make an item that is signed, and keep it at the origin."""
        path = path or path_of(name)
        number = sum(name.encode()) if seed is None else seed
        data = b"".join(nar.write(tree(number, size, references, version)))
        seal = Seal(Digest("sha256", sha256(data).digest()), len(data))
        bases = tuple(reference.base for reference in references)
        claim = Narinfo(
            path=path,
            url=f"nar/{seal.digest.nix32}.nar",
            compression="none",
            file_hash=seal.digest,
            file_size=seal.size,
            seal=seal,
            references=bases,
            deriver=None,
            signatures=(KEY.sign(narinfo.fingerprint(path, seal, bases)),),
            ca=None,
            extra=(("System", "x86_64-linux"),),
            text=b"",
        )
        said = narinfo.parse(narinfo.write(claim))
        item = self.origin.admit(vouch(said, RING), iter((data,)), "thin air")
        self.origin.commit()
        root = (cachedir.FIELD, cid.text(item.archive))
        self.archives[path] = data
        self.claims[path] = replace(claim, extra=(*claim.extra, root))
        return path

    def get(self, name: Cid) -> bytes | None:
        """Return a block of the origin."""
        return Dags(self.origin).block(name)

    def root(self, path: StorePath) -> Cid:
        """Return the root of an item's archive."""
        item = self.origin.item(path.base)
        assert item is not None
        return item.archive

    def serve(self, cache: FakeCache, roots: bool = True, archives: bool = True) -> None:
        """Let a cache serve all items; without `roots` as one that knows no IPFS."""
        for path, claim in self.claims.items():
            said = claim if roots else replace(claim, extra=claim.extra[:1])
            cache.files[f"/{path.hash_part}.narinfo"] = narinfo.write(said)
            if archives:
                cache.files[f"/{claim.url}"] = self.archives[path]

    def unpack(self, folder: Path, path: StorePath) -> None:
        """Write an item into a folder that stands for /nix/store."""
        folder.mkdir(exist_ok=True)
        here: list[Path] = []
        file: Path | None = None
        for event in nar.parse(iter((self.archives[path],))):
            name = folder / path.base if not here else here[-1] / event_name(event)
            match event:
                case nar.Directory():
                    name.mkdir()
                    here.append(name)
                case nar.File(_, executable, _):
                    file = name
                    file.write_bytes(b"")
                    file.chmod(0o755 if executable else 0o644)
                case nar.Data(content):
                    assert file is not None
                    with file.open("ab") as out:
                        out.write(content)
                case nar.Symlink(_, target):
                    name.symlink_to(target.decode())
                case nar.End():
                    here.pop()


def event_name(event: nar.Event[bytes]) -> str:
    """Return the name of an entry; of what has none, the empty one."""
    return "" if isinstance(event, nar.Data | nar.End) else event.name.decode()


@contextmanager
def made(folder: Path) -> Iterator[World]:
    """Make an empty world."""
    with store.opened(folder / "origin") as origin:
        yield World(origin)


@contextmanager
def agent(
    folder: Path,
    caches: Sequence[FakeCache | str],
    sources: Sequence[FakeSource] = (),
    seeds: Path | None = None,
    *,
    hints: Sequence[FakeCache] = (),
    size: int = 1 << 40,
    held: int = HELD,
    first: float = 10.0,
    stall: float = 3.0,
    at_once: int = 2,
) -> Iterator[Agent]:
    """Run an agent with a store in `folder`."""
    urls = [each if isinstance(each, str) else each.url for each in caches]
    http = Http(HASTY)
    upstreams = [Upstream(HttpCache(url, http), RING) for url in urls]
    asking = opening.Asking(
        upstreams,
        [(each, lambda: at_once) for each in sources],
        {"all": http},
        [Upstream(HttpCache(each.url, http), RING) for each in hints],
    )
    nix = None if seeds is None else Seeds(NixStore(seeds), NARBOR)
    limits = Limits(size, 0, first, stall, held)
    with store.opened(folder / "agent") as library:

        def at() -> Circumstances:
            return Circumstances(int(time.time()), 0, "test", lambda process: True)

        made = opening.agent(library, asking, nix, folder / "agent", at, time.monotonic, limits)
        try:
            yield made
        finally:
            for source in sources:
                source.let_go()
            made.end()
            http.close()


def archive(agent: Agent, world: World, path: StorePath, start: int = 0) -> bytes | None:
    """Ask for an archive as the door does, and read it to its end; None where there is none."""
    claim = world.claims[path]
    found = agent.archive(path.hash_part, claim.seal.digest)
    return None if found is None else b"".join(found.read(start, found.size))
