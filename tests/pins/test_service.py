"""A pinning service is asked, asked again, and told what to let go."""

import json
from collections.abc import Iterator

import pytest

from narbor.errors import Unavailable
from narbor.names import cid
from narbor.net.http import Denied, Http, WrongAnswer
from narbor.net.pinning import Declined, Pinning
from narbor.net.wire import Options
from narbor.pins import FAILED, PINNED, PINNING, QUEUED
from narbor.pins.service import Service
from tests.fakes.pinning import TOKEN, FakeService

OLD, NEW = cid.node(b"old"), cid.node(b"new")
ORIGINS = ["/dns4/cache.example/tcp/443/tls/http/p2p/12D3KooW"]
NAME = "narbor/cache"


@pytest.fixture
def fake() -> Iterator[FakeService]:
    with FakeService() as made:
        yield made


@pytest.fixture
def naps() -> list[float]:
    return []


@pytest.fixture
def http(fake: FakeService, naps: list[float]) -> Iterator[Http]:
    made = Http(Options(proxies={}, tokens={fake.place: TOKEN}, attempts=3), sleep=naps.append)
    yield made
    made.close()


@pytest.fixture
def service(fake: FakeService, http: Http) -> Service:
    return Service(Pinning(fake.url, http))


def text(root: cid.Cid) -> str:
    return cid.text(root)


def test_a_root_is_asked_for_once_and_followed(service: Service, fake: FakeService) -> None:
    assert service.kept(NAME) is None
    assert service.keep(NAME, OLD, ORIGINS) == QUEUED
    (asked,) = fake.requests.values()
    assert asked["pin"] == {"cid": text(OLD), "name": NAME, "origins": ORIGINS}
    fake.become("pinning")
    assert service.keep(NAME, OLD, ORIGINS) == PINNING
    assert service.kept(NAME) is None
    fake.become("pinned")
    assert service.keep(NAME, OLD, ORIGINS) == PINNED
    assert service.kept(NAME) == OLD
    assert len(fake.requests) == 1


def test_the_old_stays_until_the_new_is_pinned(service: Service, fake: FakeService) -> None:
    fake.begins = "pinned"
    service.keep(NAME, OLD, ORIGINS)
    fake.begins = "queued"
    assert service.keep(NAME, NEW, ORIGINS) == QUEUED
    assert fake.states() == {text(OLD): "pinned", text(NEW): "queued"}
    assert service.kept(NAME) == OLD
    fake.become("pinned")
    assert service.keep(NAME, NEW, ORIGINS) == PINNED
    assert fake.states() == {text(NEW): "pinned"}
    assert service.kept(NAME) == NEW


def test_what_is_pinned_at_once_replaces_at_once(service: Service, fake: FakeService) -> None:
    fake.begins = "pinned"
    assert service.keep(NAME, OLD, ORIGINS) == PINNED
    assert service.keep(NAME, NEW, ORIGINS) == PINNED
    assert fake.states() == {text(NEW): "pinned"}


def test_what_is_pending_gives_its_place_to_the_new(service: Service, fake: FakeService) -> None:
    service.keep(NAME, OLD, ORIGINS)
    service.keep(NAME, NEW, ORIGINS)
    assert fake.states() == {text(NEW): "queued"}
    assert ("POST", "/psa/pins/id%2F1%3F") in fake.asked


def test_names_are_apart(service: Service, fake: FakeService) -> None:
    fake.vague = True
    fake.begins = "pinned"
    service.keep("one", OLD, ORIGINS)
    service.keep("two", NEW, ORIGINS)
    assert (service.kept("one"), service.kept("two")) == (OLD, NEW)
    assert service.kept("on") is None


def test_a_failure_is_said_once_and_then_tried_anew(service: Service, fake: FakeService) -> None:
    service.keep(NAME, NEW, ORIGINS)
    fake.become("failed", "no provider found")
    assert service.keep(NAME, NEW, ORIGINS) == FAILED
    assert service.reason(NAME, NEW) == "no provider found"
    assert service.keep(NAME, NEW, ORIGINS) == QUEUED
    assert fake.states() == {text(NEW): "queued"}


def test_a_failure_of_yesterday_is_tried_anew_at_once(
    service: Service, fake: FakeService, http: Http
) -> None:
    service.keep(NAME, NEW, ORIGINS)
    fake.become("failed")
    assert Service(Pinning(fake.url, http)).keep(NAME, NEW, ORIGINS) == QUEUED


def test_a_request_that_was_made_twice_becomes_one(service: Service, fake: FakeService) -> None:
    for _ in range(3):
        fake.make({"cid": text(NEW), "name": NAME, "origins": []})
    assert service.keep(NAME, NEW, ORIGINS) == QUEUED
    assert len(fake.requests) == 1
    for _ in range(3):
        fake.make({"cid": text(NEW), "name": NAME, "origins": []})
    fake.become("pinned")
    assert service.keep(NAME, NEW, ORIGINS) == PINNED
    assert len(fake.requests) == 1


def test_all_pages_are_read(service: Service, fake: FakeService) -> None:
    fake.page = 2
    fake.begins = "pinned"
    for number in range(7):
        fake.make({"cid": text(cid.node(b"%d" % number)), "name": NAME, "origins": []})
    assert service.keep(NAME, cid.node(b"0"), ORIGINS) == PINNED
    assert list(fake.states()) == [text(cid.node(b"0"))]


def test_a_request_that_is_gone_when_it_is_replaced(service: Service, fake: FakeService) -> None:
    service.keep(NAME, OLD, ORIGINS)
    listed = json.dumps(fake.listed({"status": ["queued"]})).encode()
    fake.requests.clear()
    fake.faults.append((200, {}, listed))
    assert service.keep(NAME, NEW, ORIGINS) == QUEUED
    assert fake.states() == {text(NEW): "queued"}


def test_too_many_questions_are_asked_later(
    service: Service, fake: FakeService, naps: list[float]
) -> None:
    fake.faults.append((429, {"Retry-After": "7"}, b""))
    assert service.kept(NAME) is None
    assert naps == [7.0]


def test_a_service_that_fails(service: Service, fake: FakeService) -> None:
    fake.faults = [(500, {}, b"")] * 3
    with pytest.raises(Unavailable, match="HTTP 500"):
        service.kept(NAME)


def test_what_the_service_declines_is_said_in_its_words(
    service: Service, fake: FakeService
) -> None:
    said = b'{"error": {"reason": "INSUFFICIENT_FUNDS", "details": "Top up, please"}}'
    fake.faults = [(409, {}, said)]
    with pytest.raises(Declined, match="INSUFFICIENT_FUNDS: Top up, please"):
        service.kept(NAME)
    fake.faults = [(400, {}, b"<html>")]
    with pytest.raises(Declined, match="HTTP 400: <html>"):
        service.kept(NAME)
    with pytest.raises(Declined, match="256 letters"):
        service.keep("n" * 256, NEW, ORIGINS)


def test_without_a_token(fake: FakeService) -> None:
    http = Http(Options(proxies={}))
    with pytest.raises(Denied, match=r"UNAUTHORIZED.*a token for this host"):
        Service(Pinning(fake.url, http)).kept(NAME)
    http.close()


def listed(id: str, status: str, root: str) -> bytes:
    pin = {"requestid": id, "status": status, "created": "x", "pin": {"cid": root}}
    return json.dumps({"count": 1, "results": [pin]}).encode()


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"[]",
        b"{}",
        b'{"results": 1}',
        b'{"results": [1]}',
        listed("", "pinned", "bafkqaaa"),
        listed("..", "pinned", "bafkqaaa"),
        listed("a" * 2000, "pinned", "bafkqaaa"),
        listed("a", "maybe", "bafkqaaa"),
        listed("a", "pinned", "../../etc"),
        b"[" * 100_000,
    ],
)
def test_nonsense_is_no_answer(service: Service, fake: FakeService, said: bytes) -> None:
    fake.faults = [(200, {}, said)]
    with pytest.raises(WrongAnswer):
        service.kept(NAME)
