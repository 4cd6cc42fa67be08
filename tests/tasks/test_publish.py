"""The cache as a directory: one root for one content, whatever came in between, and cheap."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from narbor.catalogue import Claim, Release
from narbor.catalogue.values import Admitted
from narbor.dag import cachedir
from narbor.dag.profile import NARBOR, UNIXFS, Profile
from narbor.doors import http
from narbor.doors.http import Request
from narbor.doors.ipfs import IpfsDoor
from narbor.formats import car, narinfo
from narbor.library import Library
from narbor.library.dags import Dags
from narbor.library.reading import Reader
from narbor.names import cid
from narbor.names.cid import Cid
from narbor.names.file import File
from narbor.names.item import Item
from narbor.names.keys import Keyring, SecretKey
from narbor.tasks.publish import CACHE, Circumstances, Published, publish
from tests.library.store import believed, file_nar, opened
from tests.tasks.test_collect import archive, put, run

KEY: Final = SecretKey("test-1", bytes(range(32)))
AT: Final = Circumstances(5, "test", (KEY,))


def published(library: Library, at: Circumstances = AT, whole: bool = False) -> Published:
    """Publish; return what came of it."""
    *_, last = publish(library, at, whole)
    assert isinstance(last, Published)
    return last


def ask(library: Library, path: str) -> tuple[int, bytes]:
    """Ask a gateway that knows nothing of caches."""
    path, _, query = path.partition("?")
    answer = http.ask([IpfsDoor(Dags(library), lambda: 0)], Request("GET", path, query))
    return answer.status, answer.body if isinstance(answer.body, bytes) else b"".join(answer.body)


def test_any_gateway_serves_it(tmp_path: Path) -> None:
    with opened(tmp_path) as library:
        low = put(library, "low", 0)
        top = put(library, "top", 1, low)
        root = f"/ipfs/{cid.text(published(library).root)}"
        status, text = ask(library, f"{root}/nix-cache-info")
        assert (status, text) == (200, b"StoreDir: /nix/store\nWantMassQuery: 1\nPriority: 40\n")
        for item, shared in ((low, 0), (top, 1)):
            status, text = ask(library, f"{root}/{item.path.hash_part}.narinfo")
            said = narinfo.parse(text)
            assert status == 200
            assert (said.path, said.compression, said.references) == (
                item.path,
                "none",
                item.references,
            )
            assert said.extra == (("CID", cid.text(item.archive)),)
            fingerprint = narinfo.fingerprint(said.path, said.seal, said.references)
            assert Keyring((KEY.public,)).signers(fingerprint, said.signatures) == ("test-1",)
            whole = archive(item.path.name, shared)
            assert ask(library, f"{root}/{said.url}") == (200, whole)
            status, own = ask(library, f"{root}/items/{item.path.base}/own")
            assert (status, len(own)) == (200, 70_000)
            assert own in whole
        assert ask(library, f"{root}/{'0' * 32}.narinfo")[0] == 404


def test_the_archive_shares_its_leaves_with_the_tree(tmp_path: Path) -> None:
    with opened(tmp_path) as library:
        item = put(library, "one")
        done = published(library)
        # Narinfo, nix-cache-info, and three directories.
        assert (done.items, done.added, done.removed, done.blocks) == (1, 1, 0, 5)
        _, body = ask(library, f"/ipfs/{cid.text(done.root)}?format=car")
        blocks = {block.cid: block.data for block in car.read([body]).blocks}
        size = len(b"".join(library.archive(item)))
        assert sum(map(len, blocks.values())) < size + 4000


def kept(library: Library) -> Cid | None:
    """The root that the catalogue keeps."""
    found = library.catalogue.publication(CACHE)
    return None if found is None else found.root


@contextmanager
def world(folder: Path, number: int) -> Iterator[Library]:
    """A store of its own."""
    with opened(folder / str(number)) as library:
        yield library


NAMES: Final = [f"item{n}" for n in range(8)]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(st.data())
def test_content_alone_decides(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    steps = data.draw(
        st.lists(
            st.lists(st.tuples(st.booleans(), st.sampled_from(NAMES)), max_size=6),
            max_size=4,
        )
    )
    # Each item refers to the one before it, so that many come in and go out of sight.
    with opened(tmp_path_factory.mktemp("a")) as library:
        made: dict[str, Item] = {}
        for step in steps:
            for adds, name in step:
                at = NAMES.index(name)
                if adds:
                    refers = [made[NAMES[at - 1]]] if at % 3 and NAMES[at - 1] in made else []
                    made[name] = put(library, name, at % 4, *refers)
                elif name in made:
                    library.catalogue.remove([made[name].path.base])
            root = published(library).root
            assert root == published(library, whole=True).root
            assert kept(library) == root
            seen = {
                item.path.base.encode()
                for item in library.items()
                if library.catalogue.visible(item.path.base)
            }
            get = Reader(library.blocks).node
            entries = cachedir.entries(root, cachedir.TREES, get)
            assert {link.name for link in entries} == seen


def test_the_order_of_arrival_does_not_count(tmp_path: Path) -> None:
    roots = set()
    for number, order in enumerate((NAMES, NAMES[::-1], NAMES[3:] + NAMES[:3])):
        with world(tmp_path, number) as library:
            for name in order:
                put(library, name, 1)
                if number:
                    published(library)
            roots.add(published(library).root)
    assert len(roots) == 1


def test_one_item_more_writes_a_handful(tmp_path: Path) -> None:
    with opened(tmp_path) as library:
        one = put(library, "one")
        fakes = (
            replace(one, path=replace(one.path, hash_part=f"{number:032}", name=f"fake{number}"))
            for number in range(2999)
        )
        record(library, *fakes)
        first = published(library)
        assert first.items == 3000
        put(library, "new")
        second = published(library)
        assert (second.items, second.added, second.removed) == (3001, 1, 0)
        assert second.blocks <= 12
        assert published(library).blocks == 0
        assert published(library).root == second.root
        assert published(library, whole=True).root == second.root


def record(library: Library, *items: Item) -> None:
    """Write items down, or meet them again; their blocks are there already."""
    catalogue = library.catalogue
    id = catalogue.begin_admission(1, "test")
    found = []
    for item in items:
        text = narinfo.fingerprint(item.path, item.seal, item.references)
        found.append(Admitted(item, Claim(item.path.base, "elsewhere", b"", text, 1), (), (), id))
    catalogue.record(found)
    catalogue.end_admission(id)


def test_signatures_that_come_later_are_published(tmp_path: Path) -> None:
    with opened(tmp_path) as library:
        item = put(library, "one")
        before = published(library).root
        other = SecretKey("other-1", bytes(32))
        signature = other.sign(narinfo.fingerprint(item.path, item.seal, item.references))
        record(library, replace(item, signatures=(signature,)))
        after = published(library)
        assert after.root != before
        _, found = ask(library, f"/ipfs/{cid.text(after.root)}/{item.path.hash_part}.narinfo")
        assert signature in narinfo.parse(found).signatures


def test_other_settings_make_another_directory(tmp_path: Path) -> None:
    with opened(tmp_path) as library:
        put(library, "one")
        roots = {
            published(library, at).root
            for at in (AT, replace(AT, keys=()), replace(AT, priority=1), replace(AT, now=9))
        }
        assert len(roots) == 3
        assert published(library).root == published(library, whole=True).root


def test_what_is_published_is_not_collected(tmp_path: Path) -> None:
    with opened(tmp_path) as library:
        item = put(library, "one", 2)
        root = published(library).root
        collected, _ = run(library)
        assert collected.items == 1
        assert library.item(item.path.base) is None
        path = f"/ipfs/{cid.text(root)}/nar/{item.seal.digest.nix32}.nar"
        assert ask(library, path) == (200, archive("one", 2))
        after = published(library)
        assert (after.items, after.removed) == (0, 1)
        run(library)
        assert ask(library, path)[0] == 404
        assert library.catalogue.unpublish(CACHE)
        assert not library.catalogue.unpublish(CACHE)
        run(library)
        assert ask(library, f"/ipfs/{cid.text(after.root)}/")[0] == 404


def test_giving_up_leaves_what_was_published(tmp_path: Path) -> None:
    with opened(tmp_path) as library:
        put(library, "one")
        before = published(library).root
        put(library, "two")
        with closing(publish(library, AT)) as events:
            next(events)
        assert kept(library) == before
        assert library.catalogue.admissions() == ()
        assert published(library).items == 2


def test_items_of_two_profiles_with_one_archive(tmp_path: Path) -> None:
    def put_under(profile: Profile, name: str) -> Item:
        with opened(tmp_path, profile) as library:
            content = file_nar(Random(1).randbytes(2_500_000))
            item = library.admit(believed(name, content), [content], "test")
            library.commit()
            return item

    one, other = put_under(NARBOR, "a"), put_under(UNIXFS, "b")
    assert one.archive != other.archive
    with opened(tmp_path) as library:
        first = published(library)
        name = cachedir.names(one).archive
        link = cachedir.find(first.root, cachedir.ARCHIVES, name, Reader(library.blocks).node)
        assert link is not None
        assert link.cid == min(one.archive, other.archive)
        for item in (one, other):
            library.catalogue.remove([item.path.base])
            assert published(library).root == published(library, whole=True).root


def test_of_other_stores_nothing_is_published(tmp_path: Path) -> None:
    with opened(tmp_path) as library:
        put(library, "one")
        library.store = "/gnu/store"
        assert published(library).items == 0
        library.store = "/nix/store"
        assert published(library).items == 1


def test_channels_and_releases(tmp_path: Path) -> None:
    channel, name = "nixos-25.05", "nixos-25.05.1.0123456789ab"
    with opened(tmp_path) as library:
        put(library, "one")
        bare = published(library).root
        catalogue = library.catalogue
        catalogue.record_release(Release(channel, name, 1, "source", "a" * 40, 5), ())
        with library.keeping() as keep:
            root, seal = keep([b"a file", b" of a release"])
            catalogue.record_files(channel, name, [File("store-paths.txt", root, seal, 5)])
        assert published(library).root == bare
        catalogue.publish_release(channel, name, 6)
        path = f"/ipfs/{cid.text(published(library).root)}"
        found = 200, b"a file of a release"
        assert ask(library, f"{path}/releases/{channel}/{name}/store-paths.txt") == found
        assert ask(library, f"{path}/channels/{channel}/store-paths.txt")[0] == 404
        catalogue.advance(channel, name, 7)
        done = published(library)
        path = f"/ipfs/{cid.text(done.root)}"
        assert ask(library, f"{path}/channels/{channel}/store-paths.txt") == found
        assert published(library, whole=True).root == done.root
        run(library)
        assert ask(library, f"{path}/channels/{channel}/store-paths.txt") == found
