"""The small farm: real store items out of recipes, and a rebuild that changes only references."""

from hashlib import sha256
from pathlib import Path

import pytest

from narbor.errors import Unavailable
from narbor.formats import nar, narinfo, streams
from narbor.formats.narinfo import Narinfo
from narbor.names import digest, storepath
from narbor.names.keys import Keyring, SecretKey
from narbor.tasks import farm
from narbor.tasks.farm import Product
from narbor.tasks.farm.recipes import Copied, Linked, Pointer, Recipe, Script, Written

KEY = SecretKey.generate("farm-1")


def recipes(folder: Path) -> tuple[Recipe, ...]:
    """Return three recipes above each other, with a script and a copied file."""
    script = folder / "script"
    script.write_text("#!/bin/sh\necho hello\n")
    data = folder / "data"
    data.write_bytes(bytes(range(256)) * 100)
    hello = Script(script, "base", "sh")
    return (
        Recipe("base", (("state", Written("{note}\n")), ("bin/sh", Copied(data, True))), ()),
        Recipe("tool", (("bin/hello", hello), ("data", Copied(data))), ("base",)),
        Recipe(
            "top",
            (
                ("a-b", Written("{tool}")),
                ("a/z", Pointer("tool", "bin/hello")),
                ("a/y/x", Written("deep", executable=True)),
                ("aa", Pointer(None, "a-b")),
            ),
            ("tool", "base"),
        ),
    )  # fmt: skip


def grown(tmp_path: Path, note: str, compression: str = "zstd") -> tuple[Path, dict[str, Product]]:
    """Build the recipes; return the cache's folder and what was made."""
    folder = tmp_path / note
    folder.mkdir()
    made = farm.build(recipes(tmp_path), "/nix/store", note, KEY, folder, compression)
    return folder, {product.path.name: product for product in made}


def read(folder: Path, product: Product) -> tuple[Narinfo, bytes]:
    """Return an item's narinfo and its NAR, checked against each other."""
    said = narinfo.parse((folder / f"{product.path.hash_part}.narinfo").read_bytes())
    packed = (folder / said.url).read_bytes()
    assert said.file_hash == digest.Digest("sha256", sha256(packed).digest())
    assert said.file_size == len(packed)
    chunks = streams.decompress([packed], said.compression, said.seal.size)
    return said, b"".join(streams.checked(chunks, said.seal, "the NAR"))


@pytest.mark.parametrize("compression", ["zstd", "none"])
def test_what_is_built_is_a_signed_cache(tmp_path: Path, compression: str) -> None:
    """Each narinfo is signed, describes its NAR, and the NAR is canonical."""
    folder, made = grown(tmp_path, "one", compression=compression)
    ring = Keyring((KEY.public,))
    for product in made.values():
        said, archive = read(folder, product)
        text = narinfo.fingerprint(said.path, said.seal, said.references)
        assert ring.signers(text, said.signatures) == ("farm-1",)
        assert said.compression == compression
        assert said.path == storepath.parse(str(product.path))
        pieces = nar.write(nar.parse([archive]))
        assert b"".join(map(bytes, pieces)) == archive
    assert (folder / "nix-cache-info").read_text().startswith("StoreDir: /nix/store\n")


def test_references_are_what_stands_in_the_bytes(tmp_path: Path) -> None:
    """A script refers to its interpreter, a link to its target; what is only needed does not."""
    _, made = grown(tmp_path, "one")
    assert made["base"].references == ()
    assert made["tool"].references == (made["base"].path.base,)
    assert made["top"].references == (made["tool"].path.base,)
    assert [made[name].files for name in ("base", "tool", "top")] == [2, 2, 2]


def test_the_tree_is_in_the_order_of_a_nar(tmp_path: Path) -> None:
    """Names that sort around a slash stand where a NAR wants them."""
    folder, made = grown(tmp_path, "one")
    _, archive = read(folder, made["top"])
    names = [event.name for event in nar.parse([archive]) if hasattr(event, "name")]
    assert names == [b"", b"a", b"y", b"x", b"z", b"a-b", b"aa"]


def test_a_change_at_the_bottom_changes_only_references(tmp_path: Path) -> None:
    """All items have new paths; with the hashes put back, all bytes but the note are the same."""
    one, before = grown(tmp_path, "one")
    two, after = grown(tmp_path, "two")
    for name in before:
        assert before[name].path != after[name].path
        assert before[name].seal.size == after[name].seal.size
        _, first = read(one, before[name])
        _, second = read(two, after[name])
        assert first != second
        for other in before:
            old, new = after[other].path.hash_part, before[other].path.hash_part
            second = second.replace(old.encode(), new.encode())
        assert second.replace(b"two\n", b"one\n") == first


def test_paths_follow_from_what_goes_in(tmp_path: Path) -> None:
    """The same recipes give the same paths; another store, note or content gives others."""
    some = recipes(tmp_path)
    first = farm.paths(some, "/nix/store", "one")
    assert farm.paths(some, "/nix/store", "one") == first
    for store, note in (("/gnu/store", "one"), ("/nix/store", "two")):
        other = farm.paths(some, store, note)
        assert all(first[name].hash_part != other[name].hash_part for name in first)
    (tmp_path / "data").write_bytes(b"other")
    other = farm.paths(some, "/nix/store", "one")
    assert first["base"] != other["base"]


def test_what_cannot_be_linked_is_named(tmp_path: Path) -> None:
    """A file that is no program is told of, with what patchelf says."""
    file = tmp_path / "text"
    file.write_text("no program")
    bad = Recipe("bad", (("bin/x", Linked(file, ("base",))),), ("base",))
    with pytest.raises(Unavailable, match=str(file)):
        list(farm.build((*recipes(tmp_path), bad), "/nix/store", "one", KEY, tmp_path / "out"))
