"""A build farm in small: recipes become signed store items in a folder that is a binary cache.

Store paths are computed as for real derivations, from what goes in: the recipe's parts and the
store paths of what it needs. So one change at the bottom gives every item above it a new path, and
new bytes wherever a reference stands, and nowhere else.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from itertools import takewhile
from pathlib import Path
from tempfile import TemporaryDirectory

from narbor.blocks.codec import Codec
from narbor.formats import nar, narinfo
from narbor.names import base32
from narbor.names.digest import Digest, Seal
from narbor.names.keys import SecretKey
from narbor.names.storepath import StorePath
from narbor.tasks.farm import elf
from narbor.tasks.farm.recipes import Copied, Linked, Part, Pointer, Recipe, Script, Written


@dataclass(frozen=True, slots=True)
class Product:
    """An item that was built and lies in the cache; `files` counts its regular files."""

    path: StorePath
    seal: Seal
    references: tuple[str, ...]
    files: int
    packed: int


def paths(recipes: Iterable[Recipe], store: str, note: str) -> dict[str, StorePath]:
    """Compute the store path of each recipe; what is needed stands before what needs it.

    `note` is the state of the farm: another note at the bottom gives another world.
    """
    found: dict[str, StorePath] = {}
    for recipe in recipes:
        inside = sha256()
        for path, part in recipe.parts:
            inside.update(f"{path}\0{_spell(part, note)}\0".encode())
        for name in recipe.needs:
            inside.update(f"{found[name]}\0".encode())
        text = f"output:out:sha256:{inside.hexdigest()}:{store}:{recipe.name}"
        found[recipe.name] = StorePath(store, _compress(text), recipe.name)
    return found


def build(
    recipes: Sequence[Recipe],
    store: str,
    note: str,
    key: SecretKey,
    folder: Path,
    compression: str = "zstd",
    jobs: int | None = None,
) -> Iterator[Product]:
    """Build every recipe and write it to the binary cache in `folder`; give them as they are done.

    `note` goes into texts that say `{note}`. Raises Unavailable when a program cannot be patched.
    """
    where = paths(recipes, store, note)
    (folder / "nar").mkdir(parents=True, exist_ok=True)
    about = f"StoreDir: {store}\nWantMassQuery: 1\nPriority: 50\n"
    (folder / "nix-cache-info").write_text(about)
    codec = Codec(3)
    with (
        TemporaryDirectory(prefix="narbor-farm-") as scratch,
        ThreadPoolExecutor(jobs or os.cpu_count() or 1) as pool,
    ):
        bench = _Bench(where, note, Path(scratch))

        def one(recipe: Recipe) -> Product:
            return _publish(recipe, bench, key, folder, codec if compression == "zstd" else None)

        yield from pool.map(one, recipes)


@dataclass(frozen=True, slots=True)
class _Bench:
    """Where one generation is built: the paths of all its items, and room for patched files."""

    where: Mapping[str, StorePath]
    note: str
    scratch: Path

    def content(self, recipe: Recipe, path: str, part: Part) -> bytes:
        """Return the bytes of one regular file."""
        match part:
            case Copied(source):
                return source.read_bytes()
            case Written(text):
                named = {name: str(path) for name, path in self.where.items()}
                return _fill(text, named | {"note": self.note}).encode()
            case Script(source, by, program):
                _, _, rest = source.read_bytes().partition(b"\n")
                return f"#!{self.where[by]}/bin/{program}\n".encode() + rest
            case Linked(source, libraries, loader, own):
                return self._linked(recipe, source, libraries, loader, own)
            case Pointer():
                raise ValueError(f"{path} is a symbolic link and has no content")

    def _linked(
        self,
        recipe: Recipe,
        source: Path,
        libraries: tuple[str, ...],
        loader: str | None,
        own: bool,
    ) -> bytes:
        folders = [f"{self.where[recipe.name]}/lib"] if own else []
        folders += [f"{self.where[name]}/lib" for name in libraries]
        target = self.scratch / sha256(f"{recipe.name}\0{source}".encode()).hexdigest()
        start = f"{self.where[libraries[0]]}/{loader}" if loader else None
        elf.patch(source, target, start, tuple(folders))
        try:
            return target.read_bytes()
        finally:
            target.unlink()


def _publish(
    recipe: Recipe, bench: _Bench, key: SecretKey, folder: Path, codec: Codec | None
) -> Product:
    """Build one item, sign it, write its NAR and then its narinfo."""
    candidates = {bench.where[name].hash_part: bench.where[name] for name in recipe.needs}
    path = bench.where[recipe.name]
    candidates[path.hash_part] = path
    events = tuple(_events(recipe, bench))
    pieces: Iterator[bytes] = nar.write(events)
    archive = b"".join(pieces)
    # As Nix does: what is not found in the bytes is no reference, needed or not.
    pattern = re.compile(re.escape(path.store.encode()) + rb"/([0-9a-df-np-sv-z]{32})-")
    met = {letters.decode() for letters in pattern.findall(archive)}
    seal = Seal(Digest("sha256", sha256(archive).digest()), len(archive))
    references = tuple(sorted(candidates[part].base for part in met & candidates.keys()))
    packed = codec.compress(archive) if codec else archive
    digest = Digest("sha256", sha256(packed).digest())
    ending = "nar.zst" if codec else "nar"
    url = f"nar/{digest.nix32}.{ending}"
    (folder / url).write_bytes(packed)
    claim = narinfo.Narinfo(
        path=path,
        url=url,
        compression="zstd" if codec else "none",
        file_hash=digest,
        file_size=len(packed),
        seal=seal,
        references=references,
        deriver=None,
        signatures=(key.sign(narinfo.fingerprint(path, seal, references)),),
        ca=None,
        extra=(),
        text=b"",
    )
    (folder / f"{path.hash_part}.narinfo").write_bytes(narinfo.write(claim))
    files = sum(isinstance(event, nar.File) for event in events)
    return Product(path, seal, references, files, len(packed))


def _events(recipe: Recipe, bench: _Bench) -> Iterator[nar.Event[bytes]]:
    """Give the tree of a recipe in the order of a NAR: names rise as bytes in each directory."""
    yield nar.Directory(b"")
    here: list[bytes] = []
    for words, path, part in sorted(
        ((os.fsencode(path).split(b"/"), path, part) for path, part in recipe.parts),
        key=lambda entry: entry[0],
    ):
        folders = words[:-1]
        same = takewhile(lambda pair: pair[0] == pair[1], zip(here, folders, strict=False))
        shared = sum(1 for _ in same)
        yield from (nar.END for _ in here[shared:])
        yield from (nar.Directory(name) for name in folders[shared:])
        here = folders
        if isinstance(part, Pointer):
            target = part.target if part.to is None else f"{bench.where[part.to]}/{part.target}"
            yield nar.Symlink(words[-1], os.fsencode(target))
            continue
        content = bench.content(recipe, path, part)
        executable = isinstance(part, Linked | Script) or part.executable
        yield nar.File(words[-1], executable, len(content))
        if content:
            yield nar.Data(content)
    yield from (nar.END for _ in here)
    yield nar.END


def _spell(part: Part, note: str) -> str:
    """Spell what of a part goes into the store path: its kind and what it holds."""
    if isinstance(part, Written):
        return part.text.replace("{note}", note)
    if isinstance(part, Pointer):
        return f"{part.to}/{part.target}"
    return f"{type(part).__name__} {sha256(part.source.read_bytes()).hexdigest()}"


def _fill(text: str, words: Mapping[str, str]) -> str:
    return re.sub(r"\{([^{}\s]+)\}", lambda match: words.get(match[1], match[0]), text)


def _compress(text: str) -> str:
    """Fold a SHA-256 to 20 bytes and spell it, as Nix does for every store path."""
    folded = bytearray(20)
    for at, byte in enumerate(sha256(text.encode()).digest()):
        folded[at % 20] ^= byte
    return base32.nix(bytes(folded))
