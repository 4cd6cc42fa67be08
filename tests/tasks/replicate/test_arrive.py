"""CARs come in: every block is hashed, roots are kept, caches among them become items."""

from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from narbor.blocks.files import StoreFull
from narbor.catalogue import Kept, Release
from narbor.dag import cachedir
from narbor.dag.profile import NARBOR, UNIXFS
from narbor.formats import car, hamt, narinfo
from narbor.formats.carfolder import Listed
from narbor.formats.unixfs import Link
from narbor.library import Library
from narbor.names import cid
from narbor.names.cid import Cid
from narbor.names.file import File
from narbor.names.item import Item
from narbor.names.keys import Keyring
from narbor.names.storepath import StorePath
from narbor.tasks.mirror.fetch import DiskFull
from narbor.tasks.replicate.arrive import (
    Absent,
    Bad,
    Event,
    KeptRoot,
    ManyRoots,
    Source,
    Terms,
    Took,
    Unkept,
    arrive,
)
from narbor.tasks.replicate.below import Below
from narbor.tasks.replicate.intake import Admitted, Failed, Found, TakenIn, tops
from narbor.tasks.replicate.releases import Released, Unreleased
from tests.library.store import believed, file_nar, opened
from tests.tasks.replicate.dags import Blocks, dags, join, only
from tests.tasks.test_collect import archive, run
from tests.tasks.test_collect import put as put_item
from tests.tasks.test_publish import AT, KEY, ask, published

TERMS = Terms(Keyring((KEY.public,)), trusted=False, now=1000, process="test")


def car_of(blocks: Blocks, *roots: Cid) -> bytes:
    """Write a CAR."""
    return b"".join(car.write(roots, blocks.items()))


def second(data: bytes) -> bytes:
    """Wrap a CAR as one of version 2, with space before the data and rubbish for an index."""
    head = bytes(16) + b"".join(n.to_bytes(8, "little") for n in (60, len(data), 60 + len(data)))
    return bytes.fromhex("0aa16776657273696f6e02") + head + bytes(9) + data + b"index"


def source(data: bytes, label: str = "a.car") -> Source:
    """A CAR in small pieces."""
    return Source(label, lambda: (data[at : at + 7000] for at in range(0, len(data), 7000)))


def taken(
    library: Library, *data: bytes, names: dict[str, Cid] | None = None, terms: Terms = TERMS
) -> list[Event]:
    """Take CARs in."""
    sources = [source(each, f"{number}.car") for number, each in enumerate(data)]
    return list(arrive(library, sources, names, terms, "test:"))


def below(library: Library, root: Cid) -> Blocks:
    """Return all blocks below a root."""
    lost: list[Cid] = []
    reading = Below(library, lambda name, reason: lost.append(name))
    names = [name for _, name in reading.walk(root, reading.marked(()))]
    assert not lost
    return dict(reading.read(names))


# --- blocks and roots -------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(dags(), st.randoms(), st.booleans())
def test_any_dag_comes_in_and_stays_over_a_collection(
    dag: tuple[Cid, Blocks], luck: Random, wrapped: bool
) -> None:
    root, blocks = dag
    order = sorted(blocks)
    luck.shuffle(order)
    data = car_of({name: blocks[name] for name in order}, root)
    with TemporaryDirectory() as folder, opened(Path(folder)) as library:
        events = taken(library, second(data) if wrapped else data)
        assert only(KeptRoot, events) == [KeptRoot(cid.text(root), root, whole=True)]
        assert only(Took, events)[-1] == Took(
            len(blocks), sum(map(len, blocks.values())), len(blocks)
        )
        outcome, _ = run(library)
        assert outcome.room.blocks == 0
        assert below(library, root) == blocks
        assert library.catalogue.admissions() == ()
        assert only(Took, taken(library, data))[-1].new == 0
        assert library.catalogue.let_go(cid.text(root))
        run(library)
        assert list(library.blocks.keys()) == []


@settings(max_examples=40, deadline=None)
@given(dags(), st.data())
def test_what_lacks_is_named_and_the_root_kept_only_if_told(
    dag: tuple[Cid, Blocks], data: st.DataObject
) -> None:
    root, blocks = dag
    lost = data.draw(st.sampled_from(sorted(blocks)))
    some = {name: block for name, block in blocks.items() if name != lost}
    with TemporaryDirectory() as folder, opened(Path(folder)) as library:
        events = taken(library, car_of(some, root))
        assert only(Absent, events) == [Absent(root, lost)]
        assert only(Unkept, events) == [Unkept(cid.text(root), root, 1)]
        assert library.catalogue.kept_roots() == ()
        events = taken(library, car_of(some, root), terms=replace(TERMS, incomplete=True))
        assert only(KeptRoot, events) == [KeptRoot(cid.text(root), root, whole=False)]
        # A collection goes on past what lacks, and says nothing of it.
        outcome, told = run(library)
        assert outcome.items == 0
        assert not [event for event in told if "Broken" in repr(event)]
        events = taken(library, car_of({lost: blocks[lost]}, root))
        if not outcome.room.blocks:
            assert only(KeptRoot, events) == [KeptRoot(cid.text(root), root, whole=True)]


def test_a_difference_finds_the_rest_here(tmp_path: Path) -> None:
    blocks: Blocks = {}
    leaf = join(blocks, [], cid.RAW, 1)
    old = join(blocks, [leaf], cid.DAG_PB, 2)
    more: Blocks = {}
    new = join(more, [leaf, old], cid.DAG_CBOR, 3)
    with opened(tmp_path) as library:
        assert only(Unkept, taken(library, car_of(more, new), names={"n": new}))
        taken(library, car_of(blocks, old), names={"n": old})
        assert library.catalogue.kept_root("n") == old
        assert only(KeptRoot, taken(library, car_of(more, new), names={"n": new}))
        assert library.catalogue.kept_roots() == (Kept("n", new, 1000),)
        run(library)
        assert below(library, new) == blocks | more


def test_of_several_cars_the_newest_is_read_first_and_no_more_than_needed(tmp_path: Path) -> None:
    blocks: Blocks = {}
    leaf = join(blocks, [], cid.RAW, 1)
    old = join(blocks, [leaf], cid.DAG_PB, 2)
    more: Blocks = {}
    new = join(more, [old], cid.DAG_PB, 3)

    def never() -> Iterator[bytes]:
        raise AssertionError("nothing of it is needed")

    sources = [source(car_of(more, new)), source(car_of(blocks, old)), Source("older", never)]
    with opened(tmp_path) as library:
        events = list(arrive(library, sources, {"n": new}, TERMS, "test:"))
        assert only(KeptRoot, events) == [KeptRoot("n", new, whole=True)]
        events = list(arrive(library, [Source("x", never)] * 2, {"n": new}, TERMS, "test:"))
        assert only(Took, events) == []


def test_blocks_that_lie_are_named_and_the_rest_is_kept(tmp_path: Path) -> None:
    blocks: Blocks = {}
    good, bad = join(blocks, [], cid.RAW, 1), join(blocks, [], cid.RAW, 2)
    root = join(blocks, [good, bad], cid.DAG_PB, 3)
    lying = car_of(blocks | {bad: b"a lie"}, root)
    with opened(tmp_path) as library:
        events = taken(library, lying)
        (told,) = only(Bad, events)
        assert cid.text(bad) in told.reason
        assert told.label == "0.car"
        assert only(Absent, events) == [Absent(root, bad)]
        assert library.blocks.missing([good, bad]) == {bad}
        assert only(KeptRoot, taken(library, car_of({bad: blocks[bad]}, root)))


def test_cars_that_end_early_or_are_none(tmp_path: Path) -> None:
    blocks: Blocks = {}
    root = join(blocks, [join(blocks, [], cid.RAW, n) for n in range(3)], cid.DAG_PB, 9)
    data = car_of({root: blocks[root]} | blocks, root)
    with opened(tmp_path) as library:
        events = taken(library, data[:-5])
        assert len(only(Bad, events)) == len(only(Absent, events)) == 1
        for wrong in (b"", b"no car at all, but some text", bytes(100), b"\xff" * 50):
            events = taken(library, wrong)
            assert len(only(Bad, events)) == 1, wrong
            assert not only(KeptRoot, events)
        (told,) = only(Bad, taken(library, car_of(blocks)))
        assert "no root" in told.reason
        assert library.catalogue.kept_roots() == ()


def test_a_name_for_the_only_root(tmp_path: Path) -> None:
    blocks: Blocks = {}
    one, two = join(blocks, [], cid.RAW, 1), join(blocks, [], cid.RAW, 2)
    named = replace(TERMS, name="mine")
    with opened(tmp_path) as library:
        assert only(KeptRoot, taken(library, car_of(blocks, one), terms=named))
        assert library.catalogue.kept_root("mine") == one
        with pytest.raises(ManyRoots):
            taken(library, car_of(blocks, one, two), terms=named)
        assert len(only(KeptRoot, taken(library, car_of(blocks, one, two)))) == 2


def test_other_bytes_than_the_manifest_says_are_told_of(tmp_path: Path) -> None:
    blocks: Blocks = {}
    root = join(blocks, [], cid.RAW, 1)
    data = car_of(blocks, root)
    listed = Listed("a.car", 1, root, None, 1, len(data), sha256(data).digest())
    with opened(tmp_path) as library:

        def told(expected: Listed) -> list[Bad]:
            given = Source("a.car", lambda: iter([data]), expected)
            return only(Bad, list(arrive(library, [given], {"n": root}, TERMS, "test:")))

        assert told(listed) == []
        assert len(told(replace(listed, sha256=bytes(32)))) == 1
        assert len(told(replace(listed, size=5))) == 1


def test_other_hash_functions_are_refused_by_name(tmp_path: Path) -> None:
    strange = b"\1\x55\xb2\x40\x20" + bytes(32)  # blake2s-256
    blocks: Blocks = {}
    root = join(blocks, [], cid.RAW, 1)
    data = car_of(blocks, root) + cid.varint(len(strange) + 3) + strange + b"abc"
    with opened(tmp_path) as library:
        events = taken(library, data)
        assert cid.text(Cid(strange)) in only(Bad, events)[0].reason
        assert only(KeptRoot, events)


def test_links_to_what_cannot_be_kept_here_lack_and_break_no_collection(tmp_path: Path) -> None:
    strange = Cid(b"\1\x55\x1b\x20" + bytes(32))  # keccak-256
    blocks: Blocks = {}
    leaf = join(blocks, [], cid.RAW, 1)
    root = join(blocks, [strange, leaf], cid.DAG_CBOR, 2)
    with opened(tmp_path) as library:
        events = taken(library, car_of(blocks, root), terms=replace(TERMS, incomplete=True))
        assert only(Absent, events) == [Absent(root, strange)]
        run(library)
        assert library.blocks.missing(sorted(blocks)) == set()


def test_blocks_that_are_not_of_their_codec_are_kept_as_leaves(tmp_path: Path) -> None:
    junk = {
        Cid(b"\1" + cid.varint(codec) + cid.raw(b"junk")[2:]): b"junk"
        for codec in (cid.DAG_PB, cid.DAG_CBOR, cid.DAG_JSON)
    }
    blocks = dict(junk)
    root = join(blocks, junk, cid.DAG_CBOR, 2)
    with opened(tmp_path) as library:
        assert only(KeptRoot, taken(library, car_of(blocks, root)))[0].whole
        run(library)
        assert library.blocks.missing(sorted(blocks)) == set()


def test_blocks_of_every_codec_outlive_the_index(tmp_path: Path) -> None:
    """The names of DAG-JSON blocks are longer by a byte: packs must be read past them."""
    blocks: Blocks = {}
    inner = [join(blocks, [], codec, codec) for codec in (cid.DAG_JSON, cid.RAW, cid.DAG_CBOR)]
    root = join(blocks, inner, cid.DAG_PB, 1)
    with opened(tmp_path) as library:
        taken(library, car_of(blocks, root))
    (tmp_path / "index.sqlite").unlink()
    with opened(tmp_path) as library:
        assert below(library, root) == blocks


def test_the_gateway_serves_what_came(tmp_path: Path) -> None:
    blocks: Blocks = {}
    root = join(blocks, [join(blocks, [], cid.RAW, 1)], cid.DAG_PB, 2)
    with opened(tmp_path) as library:
        taken(library, car_of(blocks, root))
        assert ask(library, f"/ipfs/{cid.text(root)}/2-0") == (200, b"leaf 1")


def test_a_full_disk_keeps_what_was_there(tmp_path: Path) -> None:
    blocks: Blocks = {}
    root = join(blocks, [join(blocks, [], cid.RAW, n) for n in range(9)], cid.DAG_PB, 9)
    with opened(tmp_path) as library:
        with pytest.raises(DiskFull, match="min-free"):
            taken(library, car_of(blocks, root), terms=replace(TERMS, min_free=1 << 62))
        assert library.catalogue.admissions() == ()
        assert library.catalogue.kept_roots() == ()


# --- caches -----------------------------------------------------------------------------------


def made(folder: Path, count: int, first: int = 0) -> tuple[Cid, Blocks]:
    """Publish a store of items, each of which refers to the one before; return root and blocks."""
    with opened(folder) as library:
        before: list[Item] = []
        for number in range(count):
            item = put_item(library, f"item-{number}", number % 4, *before[-1:])
            before.append(item)
        root = published(library, replace(AT, now=first)).root
        return root, below(library, root)


def test_a_cache_becomes_items_and_publishes_the_same(tmp_path: Path) -> None:
    root, blocks = made(tmp_path / "one", 6)
    with opened(tmp_path / "two") as library:
        events = taken(library, car_of(blocks, root))
        assert only(Found, events) == [Found(6, 0)]
        # Each after what it refers to.
        names = [event.path.rpartition("-")[2] for event in only(Admitted, events)]
        assert names == [str(number) for number in range(6)]
        (done,) = only(TakenIn, events)
        assert (done.admitted, done.failed, len(done.tops)) == (6, 0, 1)
        (kept,) = library.catalogue.kept_roots()
        assert library.catalogue.kept_items(kept.name) == done.tops
        assert library.pins() == ()
        run(library)
        for number, item in enumerate(library.items()):
            assert b"".join(library.archive(item)) == archive(f"item-{number}", number % 4)
            assert item.origin == "test:"
        assert below(library, root) == blocks
        assert published(library).root == root
        again = only(TakenIn, taken(library, car_of(blocks, root)))[0]
        assert (again.admitted, again.known) == (0, 6)


def test_a_difference_brings_only_what_is_new(tmp_path: Path) -> None:
    old, older = made(tmp_path / "one", 3)
    new, newer = made(tmp_path / "one", 5)
    rest = {name: data for name, data in newer.items() if name not in older}
    with opened(tmp_path / "two") as library:
        taken(library, car_of(older, old), names={"n": old})
        run(library)
        events = taken(library, car_of(rest, new), names={"n": new})
        (done,) = only(TakenIn, events)
        assert (done.admitted, done.known, done.failed) == (2, 3, 0)
        assert below(library, new) == newer
        run(library)
        assert len(list(library.items())) == 5
        assert library.blocks.get(old) is None


def test_items_stay_as_long_as_the_name_that_brought_them(tmp_path: Path) -> None:
    """A mirror of a mirror lets go of what the other one has let go of."""
    old, older = made(tmp_path / "one", 3)
    new, newer = made(tmp_path / "other", 2)
    with opened(tmp_path / "two") as library:
        taken(library, car_of(older, old), names={"n": old})
        taken(library, car_of(older, old), names={"m": old})
        taken(library, car_of(newer, new), names={"n": new})
        run(library)
        assert len(list(library.items())) == 3
        assert library.catalogue.let_go("m")
        run(library)
        assert len(list(library.items())) == 2
        assert library.catalogue.let_go("n")
        run(library)
        assert list(library.items()) == []


def test_what_nobody_signed_stays_out_unless_it_is_trusted(tmp_path: Path) -> None:
    root, blocks = made(tmp_path / "one", 2)
    with opened(tmp_path / "two") as library:
        nobody = replace(TERMS, ring=Keyring(()))
        events = taken(library, car_of(blocks, root), terms=nobody)
        assert len(only(Failed, events)) == 2
        assert only(TakenIn, events)[0].tops == ()
        assert list(library.items()) == []
        # The directory is kept all the same: it is what its hash says.
        assert only(KeptRoot, events)[0].whole
        events = taken(library, car_of(blocks, root), terms=replace(nobody, trusted=True))
        assert only(TakenIn, events)[0].admitted == 2


def test_a_signed_claim_over_other_bytes_is_found_out(tmp_path: Path) -> None:
    """Blocks may be sound and the directory a lie: NarHash decides."""
    with opened(tmp_path / "one") as library:
        good, other = put_item(library, "good"), put_item(library, "other", 1)
        swapped = replace(good, archive=other.archive)
        text = narinfo.of_item(swapped, "nar/x.nar", "none", None, None, [])
        sealed = KEY.sign(narinfo.fingerprint(good.path, good.seal, good.references))
        text = narinfo.of_item(swapped, "nar/x.nar", "none", None, None, [sealed])
        root, blocks = directory(
            library, {f"{good.path.hash_part}.narinfo": text}, {"x.nar": other.archive}
        )
    with opened(tmp_path / "two") as library:
        events = taken(library, car_of(blocks, root))
        (told,) = only(Failed, events)
        assert str(good.path) in told.what
        assert list(library.items()) == []


def directory(
    library: Library, claims: dict[str, bytes], archives: dict[str, Cid]
) -> tuple[Cid, Blocks]:
    """Make a cache's directory by hand; return its root and all blocks below."""
    blocks: Blocks = {}

    def put(block: bytes) -> Cid:
        blocks[cid.node(block)] = block
        return cid.node(block)

    info = cachedir.info("/nix/store", 40)
    files = {"nix-cache-info": info} | claims
    links = []
    for name, text in files.items():
        blocks[cid.raw(text)] = text
        links.append(Link(cid.raw(text), len(text), name.encode()))
    inner = [Link(root, 1, name.encode()) for name, root in archives.items()]
    nar, size = hamt.directory(inner, put)
    root, _ = hamt.directory([*links, Link(nar, size, b"nar")], put)
    for archive_root in archives.values():
        blocks |= below(library, archive_root)
    return root, blocks


def test_odd_claims_are_named_and_the_rest_comes_in(tmp_path: Path) -> None:
    with opened(tmp_path / "one") as library:
        item = put_item(library, "one")

        named = ((cachedir.FIELD, cid.text(item.archive)),)

        def claim(path: StorePath, url: str) -> tuple[str, bytes]:
            changed = replace(item, path=path, extra=named if "//" in url else ())
            text = narinfo.fingerprint(path, item.seal, item.references)
            said = narinfo.of_item(changed, url, "none", None, None, [KEY.sign(text)])
            return f"{path.hash_part}.narinfo", said

        other = replace(item.path, hash_part="1" * 32)
        claims = dict(
            [
                claim(item.path, "nar/one.nar"),
                claim(replace(item.path, hash_part="2" * 32), "nar/none.nar"),
                claim(replace(item.path, hash_part="3" * 32), "https://example.org/nar/one.nar"),
                claim(replace(item.path, hash_part="4" * 32, store="/gnu/store"), "nar/one.nar"),
                (f"{'5' * 32}.narinfo", b"no narinfo\n"),
                (f"{'6' * 32}.narinfo", claim(other, "nar/one.nar")[1]),
            ]
        )
        root, blocks = directory(library, claims, {"one.nar": item.archive})
    with opened(tmp_path / "two") as library:
        events = taken(library, car_of(blocks, root))
        assert sorted(event.path for event in only(Admitted, events)) == [
            str(replace(item.path, hash_part="3" * 32)),
            str(item.path),
        ]
        told = {event.what: event.reason for event in only(Failed, events)}
        assert {sign for sign in "23456" if any(sign * 32 in text for text in told)} == set("2456")
        assert len(told) == 4


def test_a_cache_that_lacks_a_leaf_gives_the_other_items(tmp_path: Path) -> None:
    root, blocks = made(tmp_path / "one", 3)
    with opened(tmp_path / "one") as library:
        (item,) = (each for each in library.items() if each.path.name == "item-2")
        others = [each.archive for each in library.items() if each != item]
        spared = {name for each in others for name in below(library, each)}
        lost = next(
            name
            for name in below(library, item.archive)
            if cid.codec(name) == cid.RAW and name not in spared
        )
    some = {name: data for name, data in blocks.items() if name != lost}
    with opened(tmp_path / "two") as library:
        events = taken(library, car_of(some, root))
        assert only(Absent, events) == [Absent(root, lost)]
        assert only(TakenIn, events)[0].admitted == 2
        assert len(only(Failed, events)) == 1
        assert only(Unkept, events)
        # What came in is led to by pins, so it stays.
        run(library)
        assert len(list(library.items())) == 2


def test_whatever_lacks_it_is_said_and_a_second_car_makes_it_whole(tmp_path: Path) -> None:
    root, blocks = made(tmp_path / "one", 2)
    for number, lost in enumerate(sorted(blocks)):
        some = {name: data for name, data in blocks.items() if name != lost}
        with opened(tmp_path / f"two-{number}") as library:
            events = taken(library, car_of(some, root))
            assert only(Absent, events) == [Absent(root, lost)]
            assert only(Unkept, events) == [Unkept(cid.text(root), root, 1)]
            events = taken(library, car_of({lost: blocks[lost]}, root))
            assert only(KeptRoot, events)[0].whole
            assert len(list(library.items())) == 2
            assert published(library).root == root


def test_items_of_another_profile_are_cut_anew(tmp_path: Path) -> None:
    with opened(tmp_path / "one", UNIXFS) as library:
        content = file_nar(Random(1).randbytes(2_500_000))
        item = library.admit(believed("big", content), [content], "test:")
        library.commit()
        root = published(library).root
        blocks = below(library, root)
    with opened(tmp_path / "two") as library:
        assert only(TakenIn, taken(library, car_of(blocks, root)))[0].admitted == 1
        (here,) = library.items()
        assert (here.profile, item.profile) == (NARBOR.name, UNIXFS.name)
        assert here.archive != item.archive
        assert b"".join(library.archive(here)) == content


def test_tops_of_circles() -> None:
    assert tops({"a": ["b", "a"], "b": [], "c": ["d"], "d": ["c"]}) == ["a", "c", "d"]
    assert tops({}) == []


# --- releases ---------------------------------------------------------------------------------

CHANNEL, RELEASE = "nixos-25.05", "nixos-25.05.1.0123456789ab"


def released(folder: Path) -> tuple[Cid, Blocks, str]:
    """Publish a store with a release that a channel is at."""
    with opened(folder) as library:
        item = put_item(library, "one")
        catalogue = library.catalogue
        catalogue.record_release(Release(CHANNEL, RELEASE, 1, "source", "a" * 40, 5), ())
        contents = {
            "git-revision": b"a" * 40,
            "src-url": b"https://hydra.example.org/eval/1",
            "store-paths": f"{item.path}\n".encode(),
            "nixexprs.tar.xz": b"expressions",
        }
        with library.keeping() as keep:
            files = [File(name, *keep([data]), 5) for name, data in contents.items()]
            catalogue.record_files(CHANNEL, RELEASE, files)
        catalogue.publish_release(CHANNEL, RELEASE, 6)
        catalogue.advance(CHANNEL, RELEASE, 7)
        root = published(library).root
        return root, below(library, root), item.path.base


def test_releases_come_with_a_cache_that_is_trusted(tmp_path: Path) -> None:
    root, blocks, base = released(tmp_path / "one")
    with opened(tmp_path / "two") as library:
        events = taken(library, car_of(blocks, root), names={"n": root})
        assert [(e.channel, e.name) for e in only(Unreleased, events)] == [(CHANNEL, RELEASE)]
        assert library.channels() == ()
        trusted = replace(TERMS, trusted=True)
        events = taken(library, car_of(blocks, root), names={"n": root}, terms=trusted)
        assert only(Released, events) == [Released(CHANNEL, RELEASE, moved=True)]
        found = library.release(CHANNEL, RELEASE)
        assert found is not None
        assert (found.revision, found.source) == ("a" * 40, "https://hydra.example.org/eval/1")
        assert list(library.catalogue.release_paths(CHANNEL, RELEASE)) == [base]
        here = library.channel(CHANNEL)
        assert here is not None
        assert here.current == RELEASE
        file = library.catalogue.file(CHANNEL, RELEASE, "nixexprs.tar.xz")
        assert file is not None
        assert b"".join(library.content(file.root)) == b"expressions"
        assert file.seal.digest.value == sha256(b"expressions").digest()
        library.catalogue.let_go("n")
        run(library)
        assert b"".join(library.content(file.root)) == b"expressions"
        assert only(Released, taken(library, car_of(blocks, root), terms=trusted)) == []


def test_a_store_that_cannot_write_says_so(tmp_path: Path) -> None:
    blocks: Blocks = {}
    root = join(blocks, [join(blocks, [], cid.RAW, n) for n in range(9)], cid.DAG_PB, 9)

    class Full:
        """Bytes of a CAR, behind which the disk is full."""

        def __iter__(self) -> Iterator[bytes]:
            yield car_of(blocks, root)
            raise StoreFull("cannot write to 0001.pack: no space left")

    with opened(tmp_path) as library:
        with pytest.raises(StoreFull, match="no space left"):
            list(arrive(library, [Source("a", Full)], None, TERMS, "test:"))
        assert library.catalogue.kept_roots() == ()
        assert library.catalogue.admissions() == ()
