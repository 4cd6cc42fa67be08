"""A farm that a channel follows: a Hydra that evaluates, and caches with what it built."""

import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from types import TracebackType
from typing import Self

import brotli
import zstandard

from narbor.formats import nar, narinfo
from narbor.formats.narinfo import Narinfo
from narbor.names import storepath
from narbor.names.digest import Digest, Seal
from narbor.names.keys import Keyring, SecretKey
from narbor.names.storepath import StorePath
from tests.fakes.hydra import FakeHydra
from tests.fakes.hydra_tables import HydraBuild, HydraEval, git, path_of
from tests.fakes.upstream import FakeCache

NAME = "nixos-25.05.806273.650e572363c0"
REVISION = "650e572363c091045cdbc5b36b0f4c1f614d3058"
SYSTEM = "x86_64-linux"
ISO = b"an image of a disk\n" * 20_000

Tree = Mapping[str, "bytes | Tree"]


def release(number: int) -> str:
    """A name that is the newer, the higher its number."""
    return NAME.replace("806273", str(number))


def archive(tree: "bytes | Tree") -> bytes:
    """The NAR of a file or a folder; what begins with `#!` may be executed."""
    return b"".join(nar.write(_events(b"", tree)))


def _events(name: bytes, tree: "bytes | Tree") -> list[nar.Event[bytes]]:
    if isinstance(tree, bytes):
        head = nar.File(name, tree.startswith(b"#!"), len(tree))
        return [head, nar.Data(tree)] if tree else [head]
    events: list[nar.Event[bytes]] = [nar.Directory(name)]
    for each in sorted(tree):
        events += _events(each.encode(), tree[each])
    return [*events, nar.END]


def expressions(name: str, files: Mapping[str, bytes]) -> bytes:
    """A tarball of Nix expressions with `name` as its only top."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:xz") as tar:
        for file, content in files.items():
            entry = tarfile.TarInfo(f"{name}/{file}")
            entry.size, entry.mtime, entry.mode = len(content), 1_700_000_000, 0o644
            tar.addfile(entry, io.BytesIO(content))
    return out.getvalue()


@dataclass
class Channel:
    """A Hydra and a cache on 127.0.0.1, and a key that signs what is built."""

    hydra: FakeHydra = field(default_factory=FakeHydra)
    cache: FakeCache = field(default_factory=FakeCache)
    key: SecretKey = field(
        default_factory=lambda: SecretKey("channel-1", sha256(b"channel").digest())
    )

    def __enter__(self) -> Self:
        self.hydra.__enter__()
        self.cache.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.cache.__exit__(kind, error, trace)
        self.hydra.__exit__(kind, error, trace)

    @property
    def keyring(self) -> Keyring:
        """Whom to believe."""
        return Keyring((self.key.public,))

    def put(
        self,
        path: str | None,
        tree: "bytes | Tree",
        references: Sequence[str] = (),
        cache: FakeCache | None = None,
    ) -> StorePath:
        """Put an item into a cache, signed."""
        assert path is not None
        whole = archive(tree)
        seal = Seal(Digest("sha256", sha256(whole).digest()), len(whole))
        file = zstandard.compress(whole)
        file_hash = Digest("sha256", sha256(file).digest())
        item = storepath.parse(path)
        bases = tuple(sorted(each.rpartition("/")[2] for each in references))
        signature = self.key.sign(narinfo.fingerprint(item, seal, bases))
        url = f"nar/{file_hash.nix32}.nar.zst"
        claim = Narinfo(
            path=item,
            url=url,
            compression="zstd",
            file_hash=file_hash,
            file_size=len(file),
            seal=seal,
            references=bases,
            deriver=None,
            signatures=(signature,),
            ca=None,
            extra=(),
            text=b"",
        )
        into = cache or self.cache
        into.files[f"/{item.hash_part}.narinfo"] = narinfo.write(claim)
        into.files[f"/{url}"] = file
        return item

    def evaluate(self, name: str = NAME, revision: str = REVISION) -> HydraEval:
        """One evaluation of nixos, all of it built: packages, expressions, lists, an image.

        `hello` is always the same, and refers to what no list names; `extra` is another each time.
        """
        hydra = self.hydra
        made = hydra.evaluate("nixos", "release-25.05", nixpkgs=git(revision))
        hydra.build(made, "tested", nixname=name)
        libc = path_of("glibc-2.40")
        self.put(libc, {"lib": {"libc.so": b"libc"}})
        hello = f"#!/bin/sh\n# {libc}/lib\necho hello\n".encode()
        self.package(made, f"extra-{name[12:18]}", {"share": {"name": name.encode()}})
        there = self.package(made, "hello", {"bin": {"hello": hello}}, [libc]).outputs["out"]
        text = f'{{ ... }}: {{ version = builtins.readFile ./.version; hello = "{there}"; }}'
        flake = "{ outputs = _: { version = builtins.readFile ./.version; }; }"
        files = {"default.nix": text.encode(), "flake.nix": flake.encode()}
        files |= {".version": name.encode(), "programs.sqlite": b"x"}
        source = expressions(name, files)
        self.product(made, "nixos.channel", "file", "source-dist", "nixexprs.tar.xz", source)
        about = {"hello": {"name": "hello-1.0", "meta": {"description": f"Greets {name}"}}}
        lists = {"packages": {"version": 2, "packages": about}, "options": {"answer": {}}}
        for job, file in (("nixpkgs.tarball", "packages"), ("nixos.options", "options")):
            packed = bytes(brotli.compress(json.dumps(lists[file]).encode()))
            self.product(made, job, "file", "json-br", f"{file}.json.br", packed)
        iso = f"nixos-minimal-{name.partition('-')[2]}-{SYSTEM}.iso"
        self.product(made, f"nixos.iso_minimal.{SYSTEM}", "file", "iso", iso, ISO, "iso")
        return made

    def package(
        self, made: HydraEval, name: str, tree: Tree, references: Sequence[str] = ()
    ) -> HydraBuild:
        """Build a package, and put it into the cache."""
        build = self.hydra.package(made, f"nixpkgs.{name}.{SYSTEM}", nixname=f"{name}-1.0")
        self.put(build.outputs["out"], tree, references)
        return build

    def product(
        self,
        made: HydraEval,
        job: str,
        type: str,
        subtype: str,
        file: str,
        content: bytes,
        folder: str = "tarballs",
    ) -> HydraBuild:
        """Build something that offers a file, and put it into the cache."""
        mark = sha256(file.encode() + content).hexdigest()[:8]
        build = self.hydra.build(made, job, nixname=f"{job.replace('.', '-')}-{mark}")
        build.offer(type, subtype, file, content, folder)
        self.put(build.outputs["out"], {folder: {file: content}})
        return build
