"""Releases that follow a channel of another server."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from narbor.errors import Rejected
from narbor.library import Library
from narbor.names.release import BackInTime
from narbor.net.http import Gone, Http
from narbor.net.wire import Options as Wire
from narbor.tasks.mirror.sources import Upstream
from narbor.tasks.release.make import (
    Event,
    HeldBack,
    Nothing,
    NothingFinished,
    Planned,
    Published,
    Terms,
    make,
)
from narbor.tasks.release.origin import FromChannel
from narbor.tasks.release.plan import Followed
from narbor.tasks.release.stage import Unfit
from narbor.upstream.cache import HttpCache
from narbor.upstream.channel import ChannelServer, NoChannel
from tests.fakes.channel import NAME, REVISION, Channel, expressions, release
from tests.fakes.channelserver import SOURCE, publish
from tests.fakes.faults import Instead, Reset, Status
from tests.fakes.hydra_tables import path_of
from tests.fakes.upstream import FakeCache
from tests.library.store import opened
from tests.tasks.release.test_make import only

C = "nixos-25.05"
ISO = "nixos-minimal-x86_64-linux.iso"


@dataclass
class Mirror:
    """A store, a server of channels, and a cache."""

    library: Library
    farm: Channel
    web: FakeCache
    http: Http
    url: str = ""
    patterns: tuple[str, ...] = ("*",)

    def publish(self, name: str = NAME, **files: bytes) -> None:
        """Let the server have a release of one path."""
        tool = path_of("tool")
        self.farm.put(tool, {"bin": {"tool": b"#!/bin/sh\n"}})
        given = {
            "nixexprs.tar.xz": expressions(name, {"default.nix": b"{ }: 1"}),
            ISO: b"image" * 1000,
            "binary-cache-url": b"https://cache.nixos.example",
            **files,
        }
        self.url = publish(self.web, C, name, REVISION, [tool], given)

    def make(self) -> list[Event]:
        """Follow it."""
        server = ChannelServer(self.url, self.http)
        origin = FromChannel(C, server, "/nix/store", self.patterns)
        terms = Terms(Followed(C, "", "", None, ()), "https://mine.example", lambda paths: 0)
        upstreams = [Upstream(HttpCache(self.farm.cache.url, self.http), self.farm.keyring)]
        return list(make(terms, origin, self.library, upstreams, lambda: 1_800_000_000))

    def read(self, file: str, name: str = NAME) -> bytes:
        """A file of a release."""
        found = self.library.catalogue.file(C, name, file)
        assert found is not None
        return b"".join(self.library.content(found.root))


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[Mirror]:
    """A mirror of nothing yet."""
    http = Http(Wire(attempts=2, pause=0.0))
    with Channel() as farm, FakeCache() as web, opened(tmp_path / "home") as library:
        yield Mirror(library, farm, web, http)
    http.close()


def test_a_release_is_taken_as_it_is(mirror: Mirror) -> None:
    mirror.publish()
    events = mirror.make()
    assert only(Planned, events)[0].files == ("nixexprs.tar.xz", ISO)
    (done,) = only(Published, events)
    assert (done.name, done.paths, done.missing, done.moved) == (NAME, 1, 0, True)
    for file in ("nixexprs.tar.xz", ISO):
        assert mirror.read(file) == mirror.web.files[f"/nixos/{C}/{NAME}/{file}"]
    assert mirror.read("git-revision") == REVISION.encode()
    assert mirror.read("src-url") == SOURCE.encode()
    assert mirror.read("store-paths") == f"{path_of('tool')}\n".encode()
    # The cache that it names is ours.
    assert mirror.read("binary-cache-url") == b"https://mine.example"
    made = mirror.library.release(C, NAME)
    assert made is not None
    assert (made.evaluation, made.revision, made.source) == (1814352, REVISION, SOURCE)
    (source,) = (f for f in mirror.library.files(C, NAME) if f.name == "nixexprs.tar.xz")
    assert source.modified == 1_748_779_200
    assert mirror.library.item(path_of("tool").rpartition("/")[2]) is not None
    asked = len(mirror.web.asked)
    assert only(Nothing, mirror.make())
    assert all("iso" not in each.path for each in mirror.web.asked[asked:])


def test_only_some_files_are_taken(mirror: Mirror) -> None:
    mirror.patterns = ("*.tar.xz", "packages*")
    mirror.publish()
    assert only(Planned, mirror.make())[0].files == ("nixexprs.tar.xz",)
    assert not any(each.path.endswith(".iso") for each in mirror.web.asked)


def test_it_goes_on_and_never_back(mirror: Mirror) -> None:
    mirror.publish()
    mirror.make()
    mirror.publish(release(806300))
    mirror.make()
    mirror.publish(release(806100))
    with pytest.raises(BackInTime):
        mirror.make()
    channel = mirror.library.channel(C)
    assert channel is not None
    assert channel.current == release(806300)


def test_a_file_that_is_not_as_its_page_says_is_refused(mirror: Mirror) -> None:
    mirror.publish()
    mirror.web.files[f"/nixos/{C}/{NAME}/{ISO}"] = b"other"
    (unfit,) = only(Unfit, mirror.make())
    assert (unfit.file, unfit.required) == (ISO, False)
    assert "size" in unfit.reason
    mirror.publish(release(806300))
    mirror.web.files[f"/nixos/{C}/{release(806300)}/nixexprs.tar.xz"] = b"other"
    with pytest.raises(HeldBack, match=r"nixexprs\.tar\.xz"):
        mirror.make()


def test_a_broken_download_goes_on(mirror: Mirror) -> None:
    mirror.publish()
    mirror.web.fail(f"/nixos/{C}/{NAME}/{ISO}", Reset(1000))
    assert only(Unfit, mirror.make()) == []
    assert mirror.read(ISO) == b"image" * 1000


def test_what_is_no_channel(mirror: Mirror) -> None:
    mirror.publish()
    at = f"/{C}/git-revision"
    mirror.web.fail(at, Status(404), always=True)
    with pytest.raises(NothingFinished):
        mirror.make()
    mirror.web.fail(at, Instead(b"<html>"), always=True)
    with pytest.raises(NoChannel):
        mirror.make()
    mirror.web.fail(at, Instead(REVISION.encode()), always=True)
    with pytest.raises(NoChannel, match="does not lead to a release"):
        mirror.make()
    mirror.publish()
    mirror.web.files[f"/nixos/{C}/{NAME}"] = b"<html>nothing"
    with pytest.raises(NoChannel, match="no page of a release"):
        mirror.make()
    del mirror.web.files[f"/nixos/{C}/{NAME}"]
    with pytest.raises(Gone):
        mirror.make()


def test_a_list_that_is_none_is_refused(mirror: Mirror) -> None:
    mirror.publish()
    mirror.web.files[f"/nixos/{C}/{NAME}/store-paths.xz"] = b"junk"
    with pytest.raises(Rejected):
        mirror.make()
    assert mirror.library.releases(C) == ()
