"""The agent's door: what cannot be had is 404, and nothing is 5xx."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256

import pytest

from narbor.doors import http
from narbor.doors.agent import AgentDoor
from narbor.doors.http import Answer, Request
from narbor.errors import Refused, Rejected, Unavailable
from narbor.names.digest import Digest

HASH = "0" * 32
DATA = bytes(range(256)) * 10
DIGEST = Digest("sha256", sha256(DATA).digest())
NAR = f"/nar/{HASH}/{DIGEST.nix32}.nar"


@dataclass
class Archive:
    """An archive that fails behind so many bytes."""

    size: int
    error: Exception | None = None
    after: int = 0

    def read(self, start: int, stop: int) -> Iterator[bytes]:
        for at in range(start, stop, 100):
            if self.error is not None and at >= self.after:
                raise self.error
            yield DATA[at : min(at + 100, stop)]


@dataclass
class Supply:
    """What the door asks."""

    store: str = "/nix/store"
    text: bytes | None = b"StorePath: x\n"
    error: Exception | None = None
    found: Archive | None = None

    def narinfo(self, hash_part: str) -> bytes | None:
        if self.error is not None:
            raise self.error
        return self.text

    def archive(self, hash_part: str, digest: Digest) -> Archive | None:
        return self.found if (hash_part, digest) == (HASH, DIGEST) else None

    def status(self) -> Mapping[str, object]:
        return {"sums": {}}


def ask(supply: Supply, path: str, method: str = "GET", **headers: str) -> Answer:
    return http.ask((AgentDoor(supply),), Request(method, path, "", headers))


def body(answer: Answer) -> bytes:
    return answer.body if isinstance(answer.body, bytes) else b"".join(answer.body)


def test_it_wants_to_be_asked_before_public_caches() -> None:
    answer = ask(Supply(), "/nix-cache-info")
    assert body(answer) == b"StoreDir: /nix/store\nWantMassQuery: 1\nPriority: 30\n"


def test_a_narinfo_is_given_as_it_is() -> None:
    answer = ask(Supply(), f"/{HASH}.narinfo")
    assert (answer.status, body(answer)) == (200, b"StorePath: x\n")
    assert ask(Supply(), f"/{HASH}.narinfo", "HEAD").header("content-length") == "13"


@pytest.mark.parametrize("error", [Unavailable("x"), Rejected("x"), Refused("x")])
def test_every_failure_is_a_miss(error: Exception) -> None:
    assert ask(Supply(error=error), f"/{HASH}.narinfo").status == 404
    assert ask(Supply(found=Archive(len(DATA), error)), NAR).status == 404


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/e.narinfo",
        f"/{'e' * 32}.narinfo",
        f"/nar/{HASH}/{'e' * 52}.nar",
        f"/nar/{'0' * 52}.nar",
    ],
)
def test_what_is_no_name_is_a_miss(path: str) -> None:
    assert ask(Supply(text=b"x", found=Archive(len(DATA))), path).status == 404


def test_an_archive_by_range() -> None:
    supply = Supply(found=Archive(len(DATA)))
    whole = ask(supply, NAR)
    assert (whole.status, body(whole)) == (200, DATA)
    assert whole.header("content-length") == str(len(DATA))
    assert whole.header("accept-ranges") == "bytes"
    part = ask(supply, NAR, range="bytes=250-")
    assert (part.status, body(part)) == (206, DATA[250:])
    assert ask(supply, NAR, "HEAD").header("content-length") == str(len(DATA))
    assert not whole.ready


def test_a_failure_in_the_middle_ends_the_body_short() -> None:
    answer = ask(Supply(found=Archive(len(DATA), Unavailable("gone"), after=300)), NAR)
    assert answer.status == 200
    given = bytearray()
    with pytest.raises(Unavailable):
        for piece in answer.body:
            assert isinstance(piece, bytes)
            given += piece
    assert given == DATA[:300]


def test_nothing_is_written() -> None:
    assert ask(Supply(), f"/{HASH}.narinfo", "PUT").status == 405


def test_the_counts_are_json() -> None:
    assert json.loads(body(ask(Supply(), "/agent/status"))) == {"sums": {}}
