"""A build farm that signs what it makes, and puts it into fake caches."""

import bz2
import gzip
import lzma
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

import brotli
import lz4.frame
import zstandard

from narbor.formats import nar, narinfo
from narbor.formats.narinfo import Narinfo
from narbor.names import base32, storepath
from narbor.names.digest import Digest, Seal
from narbor.names.keys import Keyring, SecretKey
from narbor.names.storepath import StorePath
from tests.fakes.upstream import FakeCache


def _lzip(data: bytes) -> bytes:
    """One lzip member: the body of a .lzma file with an end mark, between a head and a tail."""
    options = {"id": lzma.FILTER_LZMA1, "dict_size": 4 << 20}
    body = lzma.compress(data, lzma.FORMAT_ALONE, filters=[options])[13:]
    tail = struct.pack("<IQQ", zlib.crc32(data), len(data), len(body) + 26)
    return b"LZIP\x01\x16" + body + tail


PACK: dict[str, Callable[[bytes], bytes]] = {
    "none": bytes,
    "xz": lzma.compress,
    "bzip2": bz2.compress,
    "gzip": gzip.compress,
    "zstd": zstandard.compress,
    "lzip": _lzip,
    "lz4": lambda data: bytes(lz4.frame.compress(data)),
    "br": lambda data: bytes(brotli.compress(data, quality=3)),
}


@dataclass(frozen=True)
class Built:
    """An item as it came from the farm: its NAR, and the file that is served."""

    info: Narinfo
    archive: bytes
    file: bytes

    @property
    def path(self) -> StorePath:
        """The store path."""
        return self.info.path

    @property
    def narinfo_at(self) -> str:
        """Where the claim is asked for."""
        return f"/{self.path.hash_part}.narinfo"

    @property
    def file_at(self) -> str:
        """Where the file is asked for."""
        return f"/{self.info.url}"

    def saying(self, **changes: Any) -> "Built":
        """The same with fields of the narinfo changed, under the old signature."""
        return replace(self, info=replace(self.info, **changes))

    def serve(self, cache: FakeCache) -> "Built":
        """Put it into a cache."""
        cache.files[self.narinfo_at] = narinfo.write(self.info)
        cache.files[self.file_at] = self.file
        return self


class Farm:
    """Builds items under one key."""

    def __init__(self, name: str = "farm-1") -> None:
        self.key = SecretKey(name, sha256(name.encode()).digest())
        self.keyring = Keyring((self.key.public,))

    def build(
        self,
        name: str,
        content: bytes = b"",
        references: Sequence[StorePath] = (),
        compression: str = "zstd",
        deriver: str | None = None,
    ) -> Built:
        """Make an item of one file; its path follows from its name alone."""
        content = content or name.encode()
        events: list[nar.Event[bytes]] = [nar.File(b"", False, len(content)), nar.Data(content)]
        archive = b"".join(nar.write(events))
        file = PACK[compression](archive)
        hash_part = base32.nix(sha256(name.encode()).digest()[:20])
        path = storepath.of_base(f"{hash_part}-{name}", "/nix/store")
        seal = Seal(Digest("sha256", sha256(archive).digest()), len(archive))
        file_hash = Digest("sha256", sha256(file).digest())
        bases = tuple(reference.base for reference in references)
        signature = self.key.sign(narinfo.fingerprint(path, seal, bases))
        url = f"nar/{file_hash.nix32}.nar"
        size = len(file)
        info = Narinfo(
            path,
            url,
            compression,
            file_hash,
            size,
            seal,
            bases,
            deriver,
            (signature,),
            None,
            (),
            b"",
        )
        return Built(info, archive, file)
