"""Damage of every kind is found, named, and mended from the upstream it came from."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from narbor.catalogue import Admitted, Claim
from narbor.dag import splice
from narbor.errors import Unavailable
from narbor.formats import nar, narinfo
from narbor.formats.vouched import vouch
from narbor.library import Library
from narbor.library.reading import Reader
from narbor.names import cid
from narbor.names.cid import Cid
from narbor.names.digest import Digest
from narbor.names.item import Item, Rendering
from narbor.names.keys import Keyring
from narbor.tasks.keep.repair import Mending, Repaired, Retired, Unrepaired, repair
from narbor.tasks.keep.verify import BadBlock, Damaged, Finding, Progress, Verified, verify
from narbor.upstream import Cache
from narbor.upstream.directory import DirectoryCache
from tests.library.store import believed, opened

COMMON = Random(1).randbytes(80_000)
OWN = {name: Random(name).randbytes(70_000) for name in ("one", "two", "three")}


def archive(name: str) -> bytes:
    """A NAR of a directory: one file that all items share, but for `three`, and one of its own."""
    files = [(b"common", COMMON)] if name != "three" else []
    files.append((b"own", OWN[name]))
    events: list[nar.Event[bytes]] = [nar.Directory(b"")]
    for file, content in files:
        events += [nar.File(file, False, len(content)), nar.Data(content)]
    # A tree that is too large to stand in its own CID.
    links = [nar.Symlink(b"to-%d" % n, b"x" * 200) for n in range(3)]
    return b"".join(nar.write([*events, *links, nar.END]))


@contextmanager
def mirrored(folder: Path) -> Iterator[tuple[Library, dict[str, Item]]]:
    """A store with three items that came from a cache in a folder."""
    cache = folder / "cache"
    (cache / "nar").mkdir(parents=True)
    (cache / "nix-cache-info").write_text("StoreDir: /nix/store\n")
    with opened(folder / "home") as library:
        items = {}
        for name in OWN:
            content = archive(name)
            claim = replace(believed(name, content).narinfo, url=f"nar/{name}.nar")
            (cache / claim.url).write_bytes(content)
            text = narinfo.write(claim)
            (cache / f"{claim.path.hash_part}.narinfo").write_bytes(text)
            vouched = vouch(narinfo.parse(text), Keyring(()), trusted=True)
            items[name] = library.admit(vouched, [content], cache.as_uri())
        library.commit()
        yield library, items


def first_leaf(library: Library, item: Item, content: bytes) -> Cid:
    """Return the CID of the leaf that `content` begins with."""
    pieces = splice.read(item.archive, Reader(library.blocks).node)
    for piece in pieces:
        if isinstance(piece, splice.Leaf):
            block = library.blocks.get(piece.cid)
            if block is not None and content.startswith(block):
                return piece.cid
    raise AssertionError("the item does not hold that")


def spoil(library: Library, folder: Path, name: Cid) -> None:
    """Turn one bit around in the frame of a block, as disks do."""
    library.blocks.sync()
    (place,) = library.blocks.places([name])
    (pack,) = (folder / "home" / "packs").glob("*.pack")
    data = bytearray(pack.read_bytes())
    data[place.offset + place.length // 2] ^= 4
    with pack.open("r+b") as file:
        file.write(data)


def lose(library: Library, name: Cid) -> None:
    """Take a block out of the index."""
    library.blocks.delete([name])


def lie(library: Library, name: Cid) -> None:
    """Keep other content under a block's name, in a sound frame."""
    library.blocks.delete([name])
    library.blocks.put_many([(name, b"something else")])
    library.blocks.sync()


def run(library: Library) -> tuple[list[Finding], Verified]:
    """Verify, and return all findings and the last."""
    with ThreadPoolExecutor(2) as pool:
        found = list(verify(library, pool))
    last = found[-1]
    assert isinstance(last, Verified)
    return found, last


def mend(library: Library, found: Verified) -> list[Mending]:
    """Repair from caches in folders."""
    return list(repair(library, found, DirectoryCache))


def test_a_sound_store_has_nothing_to_report(tmp_path: Path) -> None:
    with mirrored(tmp_path) as (library, items):
        found, last = run(library)
        assert all(isinstance(each, Progress | Verified) for each in found)
        assert (last.items, last.damaged, last.drifted, last.unused) == (3, (), (), ())
        assert last.blocks == len(list(library.blocks.keys())) > 6
        sizes = [each for each in found if isinstance(each, Progress) and each.what == "items"]
        assert sizes[-1] == Progress("items", 3, sum(item.seal.size for item in items.values()))
        assert mend(library, last) == []


@pytest.mark.parametrize("harm", ["spoil", "lose", "lie"])
def test_a_bad_leaf_is_named_with_all_items_that_have_it(tmp_path: Path, harm: str) -> None:
    with mirrored(tmp_path) as (library, items):
        leaf = first_leaf(library, items["one"], COMMON)
        if harm == "spoil":
            spoil(library, tmp_path, leaf)
        else:
            {"lose": lose, "lie": lie}[harm](library, leaf)
        found, last = run(library)
        bases = {name: item.path.base for name, item in items.items()}
        by_base = {each.base: each for each in last.damaged}
        assert set(by_base) == {bases["one"], bases["two"]}
        assert by_base[bases["one"]].faults == (leaf,)
        assert by_base[bases["one"]].shared == (bases["two"],)
        assert by_base[bases["two"]].shared == (bases["one"],)
        assert [each for each in found if isinstance(each, Damaged)] == list(last.damaged)
        named = [each.name for each in found if isinstance(each, BadBlock)]
        assert named == ([] if harm == "lose" else [leaf])
        assert last.unused == ()

        assert mend(library, last) == [
            Repaired(last.damaged[0].base, items["one"].origin),
            Repaired(last.damaged[1].base, None),
        ]
        _, again = run(library)
        assert (again.damaged, again.drifted, again.unused) == ((), (), ())
        for name, item in items.items():
            assert b"".join(library.archive(item)) == archive(name)


@pytest.mark.parametrize("which", ["tree", "archive"])
@pytest.mark.parametrize("harm", [lose, lie])
def test_a_bad_node_is_found_and_mended(tmp_path: Path, which: str, harm: object) -> None:
    with mirrored(tmp_path) as (library, items):
        root = getattr(items["three"], which)
        assert callable(harm)
        harm(library, root)
        _, last = run(library)
        (damaged,) = last.damaged
        assert (damaged.base, damaged.faults) == (items["three"].path.base, (root,))
        assert damaged.shared == ()
        assert mend(library, last) == [Repaired(damaged.base, items["three"].origin)]
        _, again = run(library)
        assert again.damaged == ()


def test_damage_outlives_the_process_and_so_does_its_repair(tmp_path: Path) -> None:
    with mirrored(tmp_path) as (library, items):
        spoil(library, tmp_path, first_leaf(library, items["one"], OWN["one"]))
    with opened(tmp_path / "home") as library:
        _, last = run(library)
        assert [each.base for each in last.damaged] == [items["one"].path.base]
        mend(library, last)
    with opened(tmp_path / "home") as library:
        assert b"".join(library.archive(items["one"])) == archive("one")
        assert run(library)[1].damaged == ()


def test_what_was_said_stays_when_an_item_is_mended(tmp_path: Path) -> None:
    with mirrored(tmp_path) as (library, items):
        base = items["one"].path.base
        before, claims = library.item(base), library.catalogue.claims(base)
        lose(library, first_leaf(library, items["one"], OWN["one"]))
        mend(library, run(library)[1])
        assert library.item(base) == before
        assert [each.text for each in library.catalogue.claims(base)] == [
            each.text for each in claims
        ]


def test_an_upstream_that_went_or_changed_mends_nothing(tmp_path: Path) -> None:
    with mirrored(tmp_path) as (library, items):
        for name in ("one", "three"):
            lose(library, first_leaf(library, items[name], OWN[name]))
        part = items["one"].path.hash_part
        other = believed("one", archive("two")).narinfo
        (tmp_path / "cache" / f"{part}.narinfo").write_bytes(narinfo.write(other))
        wrong_archive = archive("three").replace(OWN["three"], OWN["two"])
        (tmp_path / "cache" / "nar" / "three.nar").write_bytes(wrong_archive)
        _, last = run(library)
        outcome = {each.base: each for each in mend(library, last)}
        changed, wrong = outcome[items["one"].path.base], outcome[items["three"].path.base]
        assert isinstance(changed, Unrepaired)
        assert str(other.seal.digest) in changed.reasons[0]
        assert str(items["one"].seal.digest) in changed.reasons[0]
        assert isinstance(wrong, Unrepaired)
        assert str(items["three"].seal.digest) in wrong.reasons[0]
        assert len(run(library)[1].damaged) == 2
        with pytest.raises(Unavailable):
            b"".join(library.archive(items["one"]))


def test_another_upstream_is_asked_when_one_fails(tmp_path: Path) -> None:
    with mirrored(tmp_path) as (library, items):
        item = items["one"]
        admission = library.catalogue.begin_admission(1, "test")
        (first,) = library.catalogue.claims(item.path.base)
        second = Claim(first.base, "away:", first.text, first.fingerprint, 1)
        library.catalogue.record([Admitted(item, second, (), (), admission)])
        library.catalogue.end_admission(admission)
        lose(library, first_leaf(library, item, OWN["one"]))

        def open_upstream(name: str) -> Cache:
            if name == "away:":
                raise Unavailable("away: is away")
            return DirectoryCache(name)

        assert list(repair(library, run(library)[1], open_upstream)) == [
            Repaired(item.path.base, item.origin)
        ]


def test_bad_blocks_that_nobody_has_are_let_go(tmp_path: Path) -> None:
    with mirrored(tmp_path) as (library, _):
        garbage = cid.raw(b"garbage")
        library.blocks.put_many([(garbage, b"not that")])
        library.blocks.sync()
        _, last = run(library)
        assert (last.damaged, last.unused) == ((), (garbage,))
        assert mend(library, last) == []
        assert library.blocks.missing([garbage]) == {garbage}


def test_a_tree_that_is_not_what_the_archive_holds_is_damage(tmp_path: Path) -> None:
    with mirrored(tmp_path) as (library, items):
        one, two = items["one"], items["two"]
        library.catalogue.remove([one.path.base])
        admission = library.catalogue.begin_admission(1, "test")
        crossed = replace(one, tree=two.tree)
        claim = Claim(one.path.base, "nowhere:", b"", "", 1)
        library.catalogue.record([Admitted(crossed, claim, (), (), admission)])
        library.catalogue.end_admission(admission)
        _, last = run(library)
        (damaged,) = last.damaged
        assert damaged.base == one.path.base
        assert damaged.faults == ()
        assert cid.text(two.tree) in damaged.reason


def test_a_rendering_that_cannot_be_made_again_is_withdrawn(tmp_path: Path) -> None:
    with mirrored(tmp_path) as (library, items):
        base = items["one"].path.base
        library.catalogue.retire_rendering(base, "zstd")
        advertised = Rendering("zstd", Digest("sha256", b"\x01" * 32), 5)
        library.catalogue.keep_rendering(base, advertised)
        found, last = run(library)
        (drifted,) = last.drifted
        assert drifted in found
        assert (drifted.base, drifted.rendering) == (base, advertised)
        assert mend(library, last) == [Retired(base, "zstd")]
        made = library.catalogue.rendering(base, "zstd")
        assert made == Rendering("zstd", drifted.now.digest, drifted.now.size)
        assert run(library)[1].drifted == ()
