"""From an evaluation to a published release, against a fake farm."""

import io
import lzma
import tarfile
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

import pytest

from narbor.catalogue import Release
from narbor.errors import Unavailable
from narbor.formats import programs
from narbor.library import Library
from narbor.names.release import BackInTime
from narbor.net.http import Http
from narbor.net.wire import Options as Wire
from narbor.tasks.mirror import Options
from narbor.tasks.mirror.sources import Upstream
from narbor.tasks.progress import Admitted, Done, Noted, Skipped
from narbor.tasks.progress import Failed as NotFetched
from narbor.tasks.release.make import (
    Event,
    HeldBack,
    Nothing,
    NothingFinished,
    Planned,
    Published,
    Removed,
    Sized,
    Terms,
    make,
    needed,
    wanted,
)
from narbor.tasks.release.origin import FromHydra, Origin
from narbor.tasks.release.plan import Followed, Unfinished
from narbor.tasks.release.retention import Retention
from narbor.tasks.release.stage import Unfit
from narbor.tasks.release.wants import Want, usual
from narbor.upstream.cache import HttpCache
from narbor.upstream.hydra import Hydra, Selection
from tests.fakes.channel import ISO, NAME, REVISION, SYSTEM, Channel, expressions, release
from tests.fakes.faults import Reset, Status
from tests.fakes.hydra_tables import HydraBuild
from tests.fakes.upstream import FakeCache
from tests.library.store import opened
from tests.tasks.test_collect import run

C = "nixos-25.05"
WANTS = (
    *usual("nixos-25.05-small"),
    Want(f"nixos.iso_minimal.{SYSTEM}"),
    Want(f"nixos.ova.{SYSTEM}"),
)
NIXOS = Followed(C, "nixos", "release-25.05", "tested", WANTS, prefix="nixpkgs.")
TARGET = "https://cache.example"

Kind = TypeVar("Kind")


def only(kind: type[Kind], events: list[Event]) -> list[Kind]:
    """Return the events of one kind."""
    return [event for event in events if isinstance(event, kind)]


@dataclass
class Maker:
    """A store, and what its releases are made from."""

    library: Library
    farm: Channel
    origin: Origin
    http: Http
    terms: Terms
    now: int = 1_800_000_000

    def __call__(self, *more: FakeCache, terms: Terms | None = None) -> list[Event]:
        """Make a release."""
        return list(self.steps(*more, terms=terms))

    def steps(self, *more: FakeCache, terms: Terms | None = None) -> Generator[Event, None, None]:
        """Make a release, step by step."""
        caches = (self.farm.cache, *more)
        upstreams = [Upstream(HttpCache(each.url, self.http), self.farm.keyring) for each in caches]
        self.now += 1
        return make(terms or self.terms, self.origin, self.library, upstreams, lambda: self.now)

    def at(self) -> str | None:
        """The release that the channel is at."""
        channel = self.library.channel(C)
        return None if channel is None else channel.current

    def names(self) -> list[str]:
        """The releases that are shown, the newest first."""
        return [each.name for each in self.library.releases(C) if each.published is not None]

    def read(self, file: str, name: str = NAME) -> bytes:
        """A file of a release."""
        found = self.library.catalogue.file(C, name, file)
        assert found is not None
        content = b"".join(self.library.content(found.root))
        assert found.seal.size == len(content)
        assert found.seal.digest.value == sha256(content).digest()
        return content


@pytest.fixture
def maker(tmp_path: Path) -> Iterator[Maker]:
    """A maker over an empty store, with all that is listed required."""
    http = Http(Wire(attempts=2, pause=0.0))
    with Channel() as farm, opened(tmp_path / "home") as library:
        terms = Terms(NIXOS, TARGET, lambda paths: 0)
        origin = FromHydra(NIXOS, Hydra(farm.hydra.url, http))
        yield Maker(library, farm, origin, http, terms)
    http.close()


def job(farm: Channel, name: str) -> HydraBuild:
    """The newest build of a job."""
    return max((b for b in farm.hydra.builds.values() if b.job == name), key=lambda b: b.id)


def test_a_release_is_made_with_all_its_files(maker: Maker) -> None:
    made = maker.farm.evaluate()
    events = maker()
    (done,) = only(Published, events)
    assert (done.name, done.paths, done.missing, done.moved) == (NAME, 2, 0, True)
    assert maker.at() == NAME
    assert maker.read("git-revision") == REVISION.encode()
    assert maker.read("src-url") == f"{maker.farm.hydra.url}/eval/{made.id}".encode()
    assert maker.read("binary-cache-url") == TARGET.encode()
    paths = sorted(
        str(each.outputs["out"])
        for each in maker.farm.hydra.builds.values()
        if each.products and each.products[1].type == "nix-build"
    )
    listing = "".join(f"{path}\n" for path in paths).encode()
    assert maker.read("store-paths") == listing
    assert lzma.decompress(maker.read("store-paths.xz")) == listing
    for build in (job(maker.farm, name) for name in ("nixos.channel", "nixpkgs.tarball")):
        product = build.products[1]
        assert maker.read(product.name) == product.content
        line = f"{product.sha256hash}  {product.name}\n"
        assert maker.read(f"{product.name}.sha256") == line.encode()
    iso = job(maker.farm, f"nixos.iso_minimal.{SYSTEM}").products[1]
    assert maker.read(iso.name) == ISO
    page = maker.read("index.html").decode()
    assert "<p>Released on 2027-01-15 08:00:01 from Git commit" in page
    assert str(iso.sha256hash) in page
    assert REVISION in page


def test_what_it_lists_is_here_with_all_that_refers(maker: Maker) -> None:
    maker.farm.evaluate()
    events = maker(terms=replace(maker.terms, mirror=Options(head_start=0.0)))
    listed = list(maker.library.catalogue.release_paths(C, NAME))
    assert len(listed) == 2
    assert all(maker.library.complete(base) for base in listed)
    came = {event.path.partition("-")[2] for event in only(Admitted, events)}
    assert "glibc-2.40" in came
    # Said before the first byte comes.
    (sized,) = only(Sized, events)
    assert events.index(sized) < min(events.index(each) for each in only(Admitted, events))
    assert sized.items == len(only(Admitted, events)) == 7
    served = sum(
        len(body) for path, body in maker.farm.cache.files.items() if path.startswith("/nar/")
    )
    assert sized.bytes == served


def test_it_is_not_made_twice(maker: Maker) -> None:
    maker.farm.evaluate()
    maker()
    before = maker.library.version()
    asked = len(maker.farm.cache.asked)
    (nothing,) = maker()
    assert nothing == Nothing(C, NAME, "it is published already")
    assert maker.library.version() == before
    assert len(maker.farm.cache.asked) == asked


def test_a_newer_release_follows_and_shares_what_is_the_same(maker: Maker) -> None:
    maker.farm.evaluate()
    maker()
    maker.farm.evaluate(release(806300), "1" * 40)
    events = maker()
    assert maker.at() == release(806300)
    assert maker.names() == [release(806300), NAME]
    assert any("hello" in event.path for event in only(Skipped, events))
    assert not any("hello" in event.path for event in only(Admitted, events))
    assert maker.read("git-revision", release(806300)) == b"1" * 40
    assert maker.read("git-revision") == REVISION.encode()


def test_it_never_goes_back_in_time(maker: Maker) -> None:
    maker.farm.evaluate()
    maker()
    maker.farm.evaluate(release(806200))
    with pytest.raises(BackInTime):
        maker()
    assert (maker.at(), maker.names()) == (NAME, [NAME])


def test_an_absent_product_is_told_and_stops_nothing(maker: Maker) -> None:
    maker.farm.evaluate()
    events = maker()
    (planned,) = only(Planned, events)
    assert [each.want.job for each in planned.plan.absent] == [f"nixos.ova.{SYSTEM}"]
    assert only(Published, events)[0].without == 1
    ((what, reason),) = maker.library.catalogue.without(C, NAME)
    assert (what, "no job" in reason) == (f"nixos.ova.{SYSTEM}", True)


def test_without_a_required_product_there_is_no_release(maker: Maker) -> None:
    maker.farm.evaluate()
    job(maker.farm, "nixos.channel").buildstatus = 1
    with pytest.raises(HeldBack, match=r"nixos\.channel: build .* failed"):
        maker()
    assert maker.names() == []
    # Nothing was fetched for it.
    assert maker.farm.cache.asked == []


def test_a_product_that_differs_from_hydras_hash_is_refused(maker: Maker) -> None:
    maker.farm.evaluate()
    iso = job(maker.farm, f"nixos.iso_minimal.{SYSTEM}").products[1]
    iso.sha256hash = "0" * 64
    events = maker()
    (unfit,) = only(Unfit, events)
    assert unfit.file == iso.name
    assert "0000" in unfit.reason or "sha256" in unfit.reason
    assert {what for what, _ in maker.library.catalogue.without(C, NAME)} == {
        iso.name,
        f"nixos.ova.{SYSTEM}",
    }
    assert maker.library.catalogue.file(C, NAME, iso.name) is None
    assert maker.library.catalogue.file(C, NAME, f"{iso.name}.sha256") is None


def test_a_required_product_that_lies_holds_the_release_back(maker: Maker) -> None:
    maker.farm.evaluate()
    source = job(maker.farm, "nixos.channel").products[1]
    source.filesize = (source.filesize or 0) + 1
    with pytest.raises(HeldBack, match=r"nixexprs\.tar\.xz.*size is"):
        maker()
    assert maker.names() == []
    assert maker.library.files(C, NAME) == ()
    assert maker.at() is None


@pytest.mark.parametrize("member", ["tarballs", "tarballs/other.tar.xz", "../x"])
def test_a_product_that_is_not_where_it_should_be(maker: Maker, member: str) -> None:
    maker.farm.evaluate()
    build = job(maker.farm, "nixpkgs.tarball")
    build.products[1].path = f"{build.outputs['out']}/{member}"
    if ".." in member:
        with pytest.raises(Exception, match="no path inside a store"):
            maker()
        return
    (unfit,) = only(Unfit, maker())
    assert "is no file" in unfit.reason


def test_a_product_that_no_cache_has(maker: Maker) -> None:
    maker.farm.evaluate()
    out = job(maker.farm, f"nixos.iso_minimal.{SYSTEM}").outputs["out"]
    del maker.farm.cache.files[f"/{Path(str(out)).name[:32]}.narinfo"]
    (unfit,) = only(Unfit, maker())
    assert "is not here" in unfit.reason
    assert maker.at() == NAME


def lose(cache: FakeCache, build: HydraBuild) -> tuple[str, bytes]:
    """Take a build's narinfo out of a cache."""
    path = f"/{Path(str(build.outputs['out'])).name[:32]}.narinfo"
    return path, cache.files.pop(path)


def test_a_release_is_held_back_when_too_much_is_missing(maker: Maker) -> None:
    maker.farm.evaluate()
    hello = job(maker.farm, f"nixpkgs.hello.{SYSTEM}")
    path, text = lose(maker.farm.cache, hello)
    with pytest.raises(HeldBack, match=r"of 2 paths 1 are missing, 0 may be .*hello"):
        maker()
    assert (maker.at(), maker.names()) == (None, [])
    (lacking,) = maker.library.catalogue.lacking(C, NAME)
    assert not lacking.here
    assert lacking.reasons == ((maker.farm.cache.url, "does not have it"),)
    # As soon as it can be had, the release comes, and nothing is fetched again.
    asked = len(maker.farm.cache.asked)
    maker.farm.cache.files[path] = text
    events = maker()
    assert only(Published, events)[0].missing == 0
    again = [each.path for each in maker.farm.cache.asked[asked:] if each.path[:5] == "/nar/"]
    assert len(again) == 2  # hello, and what it alone refers to


def test_some_may_be_missing_and_are_told(maker: Maker) -> None:
    maker.farm.evaluate()
    lose(maker.farm.cache, job(maker.farm, f"nixpkgs.hello.{SYSTEM}"))
    events = maker(terms=replace(maker.terms, allowed=lambda paths: paths // 2))
    (done,) = only(Published, events)
    assert (done.missing, done.moved) == (1, True)
    assert len(only(NotFetched, events)) == 1
    assert b"hello" in maker.read("store-paths")


def test_what_one_cache_lacks_the_next_one_has(maker: Maker) -> None:
    maker.farm.evaluate()
    hello = job(maker.farm, f"nixpkgs.hello.{SYSTEM}")
    with FakeCache() as other:
        other.files |= maker.farm.cache.files
        lose(maker.farm.cache, hello)
        maker.farm.cache.fail("*", Reset(10), Status(500))
        assert only(Published, maker(other))[0].missing == 0


def test_what_nobody_vouches_for_is_missing(maker: Maker) -> None:
    maker.farm.evaluate()
    path, text = lose(maker.farm.cache, job(maker.farm, f"nixpkgs.hello.{SYSTEM}"))
    maker.farm.cache.files[path] = text.replace(b"NarSize: ", b"NarSize: 1")
    with pytest.raises(HeldBack):
        maker()


def test_it_may_be_interrupted_anywhere(maker: Maker) -> None:
    """Given up after any number of steps, nothing is shown; the last run makes it whole."""
    maker.farm.evaluate()
    for number in range(0, 60, 7):
        steps = maker.steps()
        for _ in range(number):
            if isinstance(next(steps, None), Published):
                break
        steps.close()
        assert (maker.at() is None) == (maker.names() == [])
    maker()
    assert maker.at() == NAME
    assert maker.read("git-revision") == REVISION.encode()


def test_what_was_published_and_not_moved_to_is_moved_to(maker: Maker) -> None:
    maker.farm.evaluate()
    catalogue = maker.library.catalogue
    catalogue.record_release(Release(C, NAME, 1, "source", REVISION, 1), [])
    catalogue.publish_release(C, NAME, 2)
    assert maker.at() is None
    assert only(Nothing, maker())[0].reason == "the channel was moved to it"
    assert maker.at() == NAME


def test_a_frozen_channel_stands_still(maker: Maker) -> None:
    maker.farm.evaluate()
    maker()
    maker.farm.evaluate(release(806300))
    maker.library.catalogue.freeze(C, True, 5)
    assert only(Nothing, maker()) == [Nothing(C, NAME, "the channel is frozen")]
    assert maker.names() == [NAME]
    maker.library.catalogue.freeze(C, False, 6)
    maker()
    assert maker.at() == release(806300)


def test_an_unfinished_evaluation_is_left_alone(maker: Maker) -> None:
    made = maker.farm.evaluate()
    maker.farm.hydra.build(made, "nixpkgs.late.x86_64-linux", finished=0)
    with pytest.raises(NothingFinished, match=r"nothing is finished at .*: nixos/release"):
        maker()
    assert maker.names() == []


def test_old_releases_go_and_what_they_alone_had(maker: Maker) -> None:
    terms = replace(maker.terms, retention=Retention(keep=2))
    for number in (1, 2, 3):
        maker.farm.evaluate(release(806300 + number))
        events = maker(terms=terms)
    assert only(Removed, events) == [Removed(C, release(806301))]
    assert maker.names() == [release(806303), release(806302)]
    before = {item.path.name for item in maker.library.items()}
    run(maker.library)
    after = {item.path.name for item in maker.library.items()}
    gone = before - after
    assert any(name.startswith("extra-806301") for name in gone)
    assert not any(name.startswith(("hello", "glibc", "extra-806302")) for name in gone)
    for number in (2, 3):
        assert maker.read("git-revision", release(806300 + number)) == REVISION.encode()
        iso = f"nixos-minimal-25.05.80630{number}.650e572363c0-{SYSTEM}.iso"
        assert maker.read(iso, release(806300 + number)) == ISO


def test_what_was_begun_and_overtaken_goes(maker: Maker) -> None:
    maker.farm.evaluate()
    lose(maker.farm.cache, job(maker.farm, f"nixpkgs.hello.{SYSTEM}"))
    with pytest.raises(HeldBack):
        maker()
    maker.farm.evaluate(release(806300))
    assert only(Removed, maker()) == [Removed(C, NAME)]
    assert [each.name for each in maker.library.releases(C)] == [release(806300)]


def test_a_hydra_that_is_away_is_unavailable(maker: Maker) -> None:
    maker.farm.evaluate()
    maker.farm.hydra.fail("*", Status(500), always=True)
    with pytest.raises(Unavailable):
        maker()


def test_what_would_be_made_is_told_and_nothing_is_written(maker: Maker) -> None:
    assert wanted(maker.terms, maker.origin, maker.library) is None
    maker.farm.evaluate()
    plan = wanted(maker.terms, maker.origin, maker.library)
    assert plan is not None
    paths = needed(plan)
    assert len(paths) == len(set(paths)) == 6
    assert maker.library.channels() == ()
    maker()
    assert wanted(maker.terms, maker.origin, maker.library) is None


def indexed(maker: Maker, name: str = NAME) -> dict[str, bytes]:
    """The expressions of a release, by file; they are as their hash says."""
    source = maker.read("nixexprs.tar.xz", name)
    line = f"{sha256(source).hexdigest()}  nixexprs.tar.xz\n"
    assert maker.read("nixexprs.tar.xz.sha256", name) == line.encode()
    with tarfile.open(fileobj=io.BytesIO(source), mode="r:xz") as tar:
        found = {}
        for member in tar:
            content = tar.extractfile(member)
            assert content is not None
            found[member.name.removeprefix(f"{name}/")] = content.read()
    return found


def test_programs_are_indexed_where_they_were_not(maker: Maker) -> None:
    terms = replace(maker.terms, programs=True)
    maker.farm.evaluate()
    maker(terms=terms)
    # It had them, so it is as the Hydra made it.
    assert indexed(maker)["programs.sqlite"] == b"x"
    newer = release(806300)
    made = maker.farm.evaluate(newer)
    bare = expressions(newer, {"default.nix": b"{ }: { }", "lib/x.nix": b"1"})
    made.builds.remove(job(maker.farm, "nixos.channel").id)
    maker.farm.product(made, "nixos.channel", "file", "source-dist", "nixexprs.tar.xz", bare)
    maker(terms=terms)
    found = indexed(maker, newer)
    assert found.keys() == {"default.nix", "lib/x.nix", "programs.sqlite"}
    assert found["lib/x.nix"] == b"1"
    assert programs.parse(found["programs.sqlite"]) == (("hello", SYSTEM, "hello"),)


def test_what_is_no_tarball_stays_as_it_is(maker: Maker) -> None:
    made = maker.farm.evaluate()
    made.builds.remove(job(maker.farm, "nixos.channel").id)
    maker.farm.product(made, "nixos.channel", "file", "source-dist", "nixexprs.tar.xz", b"junk")
    events = maker(terms=replace(maker.terms, programs=True))
    assert maker.read("nixexprs.tar.xz") == b"junk"
    assert any("stays without programs.sqlite" in event.text for event in only(Noted, events))
    assert maker.at() == NAME


def test_what_came_while_nobody_looked_is_caught_up_with(maker: Maker) -> None:
    every = replace(maker.terms, every=True)
    for number in (1, 2):
        maker.farm.evaluate(release(806300 + number))
    maker(terms=every)
    # At first there is no last one to go on from.
    assert maker.names() == [release(806302)]
    bad = maker.farm.evaluate(release(806303))
    job(maker.farm, "tested").buildstatus = 1
    late = maker.farm.evaluate(release(806304))
    unfinished = maker.farm.hydra.build(late, "nixpkgs.late.x86_64-linux", finished=0)
    maker.farm.evaluate(release(806305))
    lose(maker.farm.cache, job(maker.farm, "nixpkgs.extra-806305.x86_64-linux"))
    for number in (6, 7):
        maker.farm.evaluate(release(806300 + number))
    events = maker(terms=every)
    assert maker.names() == [release(806300 + number) for number in (7, 6, 2)]
    assert maker.at() == release(806307)
    (note,) = only(Noted, events)
    assert "held back" in note.text
    nothing, last = only(Nothing, events)
    assert last == Nothing(C, release(806307), "it is published already")
    assert (nothing.name, "1 unfinished builds" in nothing.reason) == (release(806304), True)
    assert bad.id < late.id
    assert not unfinished.finished
    assert only(Published, maker(terms=every)) == []


def test_a_hydra_too_busy_for_its_list_of_builds_is_asked_for_paths(maker: Maker) -> None:
    made = maker.farm.evaluate()
    maker.farm.hydra.fail(f"/eval/{made.id}/builds", Status(500), always=True)
    events = maker()
    assert only(Published, events)[0].paths == 2
    (note,) = only(Noted, events)
    assert "without an index of packages" in note.text
    assert "HTTP 500" in note.text
    assert list(maker.library.catalogue.packages(C, NAME)) == []
    newer = maker.farm.evaluate(release(806300))
    maker.farm.hydra.fail(f"/eval/{newer.id}/builds", Status(500), always=True)
    some = replace(NIXOS, selection=Selection(systems=(SYSTEM,)))
    maker.origin = FromHydra(some, Hydra(maker.farm.hydra.url, maker.http))
    with pytest.raises(Unavailable, match="500"):
        maker()


def test_one_that_becomes_unfinished_again_is_waited_for(maker: Maker) -> None:
    """A build may be started anew between two questions."""
    made = maker.farm.evaluate()
    found = maker.origin.find()
    assert found is not None
    again = maker.farm.hydra.build(made, "nixpkgs.again.x86_64-linux", finished=0)
    with pytest.raises(Unfinished):
        maker.origin.plan(found)
    again.finished = 1
    assert only(Published, maker())


def test_a_collection_in_the_middle_takes_nothing_that_is_needed(maker: Maker) -> None:
    """Products are reached from no release, and yet they stay until it has its files."""
    maker.farm.evaluate()
    events = []
    for step in maker.steps():
        events.append(step)
        if isinstance(step, Done):
            run(maker.library)
    assert only(Unfit, events) == []
    assert only(Published, events)[0].missing == 0
    run(maker.library)
    iso = job(maker.farm, f"nixos.iso_minimal.{SYSTEM}")
    assert maker.library.item(Path(str(iso.outputs["out"])).name) is None
    assert maker.read(iso.products[1].name) == ISO
