"""A Hydra, asked: against the fake, over real sockets, and when it fails."""

import gzip
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.fakes.faults import Drip, Instead, Mute, Reset, Slow, Stall, Status
from tests.fakes.hydra import FakeHydra
from tests.fakes.hydra_tables import HydraEval, git, path_of

from narbor.errors import Rejected, Unavailable
from narbor.formats.hydra import MalformedHydra
from narbor.net import wire
from narbor.net.http import Failing, Gone, Http
from narbor.upstream.hydra import Hydra, NotHydra, Selection

REVISION = "650e572363c0e9e1a9b4a6f2c5f1d2e3c4b5a697"
P, J = "nixos", "trunk-combined"
PAGE = b"<!DOCTYPE html><title>Sign in</title>"


@pytest.fixture
def fake() -> Iterator[FakeHydra]:
    with FakeHydra() as server:
        yield server


@pytest.fixture
def http() -> Iterator[Http]:
    options = wire.Options(proxies={}, attempts=3, read=0.3)
    client = Http(options, sleep=lambda seconds: None)
    yield client
    client.close()


@pytest.fixture
def hydra(fake: FakeHydra, http: Http) -> Hydra:
    return Hydra(fake.url + "/", http)


def evaluate(fake: FakeHydra, *jobs: str) -> HydraEval:
    """An evaluation with these packages."""
    made = fake.evaluate(P, J, nixpkgs=git(REVISION))
    for job in jobs:
        fake.package(made, job)
    return made


def test_the_list_of_evaluations_is_followed_to_its_end(fake: FakeHydra, hydra: Hydra) -> None:
    made = [fake.evaluate(P, J) for _ in range(45)]
    made[7].hasnewbuilds = 0
    fake.evaluate(P, "another")
    expected = [each.id for each in reversed(made) if each.hasnewbuilds]
    assert [each.id for each in hydra.evaluations(P, J)] == expected
    pages = [asked.path.partition("?")[2] for asked in fake.asked]
    assert pages == ["page=1", "page=2", "page=3"]
    assert list(hydra.evaluations(P, "unknown")) == []


def test_pages_are_asked_for_only_when_needed(fake: FakeHydra, hydra: Hydra) -> None:
    made = [fake.evaluate(P, J) for _ in range(45)]
    assert next(hydra.evaluations(P, J)).id == made[-1].id
    assert len(fake.asked) == 1


def test_an_evaluation_that_comes_meanwhile_repeats_none(fake: FakeHydra, hydra: Hydra) -> None:
    for _ in range(30):
        fake.evaluate(P, J)
    seen: list[int] = []
    for each in hydra.evaluations(P, J):
        if len(seen) == 5:
            fake.evaluate(P, J)
        seen.append(each.id)
    assert len(seen) == len(set(seen)) == 30


def test_a_list_that_leads_in_a_circle_is_refused(fake: FakeHydra, hydra: Hydra) -> None:
    page = json.dumps({"evals": [], "next": "?page=1"}).encode()
    fake.fail("*", Instead(page, {"Content-Type": "application/json"}), always=True)
    with pytest.raises(NotHydra, match="next page is 1"):
        list(hydra.evaluations(P, J))


def test_the_newest_finished_evaluation(fake: FakeHydra, hydra: Hydra) -> None:
    assert hydra.latest(P, J) is None
    old = evaluate(fake, "a")
    new = evaluate(fake, "a")
    fake.build(new, "b", finished=0)
    found = hydra.latest(P, J)
    assert found is not None
    assert (found.id, found.builds) == (old.id, tuple(old.builds))
    assert found.inputs["nixpkgs"].revision == REVISION
    for build in fake.builds.values():
        build.finished = 1
    again = hydra.latest(P, J)
    assert again is not None
    assert again.id == new.id
    # The redirect brings the jobset's name along, as a real one does.
    assert fake.asked[-1].path == f"/eval/{new.id}?name={J}"


def test_json_is_asked_for_by_name_behind_redirects_too(fake: FakeHydra, hydra: Hydra) -> None:
    evaluate(fake, "a")
    hydra.latest(P, J)
    assert {asked.headers["accept"] for asked in fake.asked} == {"application/json"}
    assert len(fake.asked) == 2


def test_an_evaluation_and_its_builds_by_job(fake: FakeHydra, hydra: Hydra) -> None:
    made = evaluate(fake, "hello.x86_64-linux")
    found = hydra.evaluation(made.id)
    assert found is not None
    assert found.id == made.id
    assert hydra.evaluation(1) is None
    build = hydra.job(made.id, "hello.x86_64-linux")
    assert build is not None
    assert build == hydra.build(made.builds[0])
    assert hydra.job(made.id, "nothing") is None
    assert hydra.build(1) is None
    assert hydra.address(made.id) == f"{fake.url}/eval/{made.id}"


@pytest.mark.parametrize("job", ["a b", "a?b=c#d", "perl\"'%41", "é"])
def test_any_name_of_a_job_can_be_asked_for(fake: FakeHydra, hydra: Hydra, job: str) -> None:
    made = evaluate(fake, "other")
    fake.build(made, job, nixname="x-1")
    for found in (hydra.job(made.id, job), hydra.latest_finished(P, J, job)):
        assert found is not None
        assert found.job == job


def test_latest_finished_passes_over_what_is_not(fake: FakeHydra, hydra: Hydra) -> None:
    assert hydra.latest_finished(P, J, "tested") is None
    first, second, third = (evaluate(fake) for _ in range(3))
    good = fake.build(first, "tested")
    fake.build(second, "tested", buildstatus=1)
    fake.build(third, "tested")
    fake.build(third, "slow", finished=0)
    found = hydra.latest_finished(P, J, "tested")
    assert found is not None
    assert found.id == good.id


def test_builds_come_with_all_that_is_told_of_them(fake: FakeHydra, hydra: Hydra) -> None:
    made = evaluate(fake, "a", "b")
    bad = fake.build(made, "bad", buildstatus=1, outputs=())
    bad.outputs = {"out": None, "dev": None}
    late = fake.build(made, "late", finished=0)
    found = {each.job: each for each in hydra.builds(made.id)}
    assert sorted(found) == ["a", "b", "bad", "late"]
    assert [job for job, each in found.items() if each.succeeded] == ["a", "b"]
    assert [each.path for each in found["bad"].outputs] == [None, None]
    assert found["late"].status is None
    assert found["late"].id == late.id
    with pytest.raises(Gone):
        next(hydra.builds(1))


def test_builds_are_selected_by_system_and_name(fake: FakeHydra, hydra: Hydra) -> None:
    made = evaluate(fake)
    for job in ("python3.a", "python3.b", "perl.a", "nixos.iso"):
        for system in ("x86_64-linux", "aarch64-linux"):
            fake.package(made, f"{job}.{system}", system=system)

    def jobs(**fields: tuple[str, ...]) -> set[str]:
        return {each.job for each in hydra.builds(made.id, Selection(**fields))}

    assert len(jobs()) == 8
    assert jobs(systems=("aarch64-linux",), names=("p*",), without=("*.b.*",)) == {
        "python3.a.aarch64-linux",
        "perl.a.aarch64-linux",
    }
    assert jobs(names=("perl.?.x86*", "nixos.*")) == {
        "perl.a.x86_64-linux",
        "nixos.iso.x86_64-linux",
        "nixos.iso.aarch64-linux",
    }
    assert jobs(without=("*",)) == set()
    assert jobs(names=("PERL*",)) == set()
    assert Selection().everything
    assert not Selection(without=("x",)).everything


def test_constituents_of_an_aggregate(fake: FakeHydra, hydra: Hydra) -> None:
    made = evaluate(fake, "b", "a")
    tested = fake.build(made, "tested", constituents=list(made.builds))
    assert [each.job for each in hydra.constituents(tested.id)] == ["a", "b"]


def test_store_paths_are_those_of_packages_that_were_built(fake: FakeHydra, hydra: Hydra) -> None:
    made = evaluate(fake)
    both = fake.package(made, "a", outputs=("out", "dev"))
    fake.package(made, "a.again", nixname=both.nixname)
    fake.package(made, "bad", buildstatus=1)
    fake.package(made, "late", finished=0)
    fake.build(made, "iso").offer("file", "iso", "x.iso", b"iso")
    fake.package(made, "null", nixname="null-1").outputs["dev"] = None
    expected = {*both.outputs.values(), path_of("null-1-x86_64-linux")}
    found = [str(path) for path in hydra.store_paths(made.id)]
    assert found == sorted(str(path) for path in expected)
    with pytest.raises(Gone):
        hydra.store_paths(1)


def test_a_broken_connection_gives_every_build_once(fake: FakeHydra, hydra: Hydra) -> None:
    made = evaluate(fake, *(f"job{n}" for n in range(300)))
    path = f"/eval/{made.id}/builds"
    fake.fail(path, Reset(100_000), Stall(150_000))
    assert [each.id for each in hydra.builds(made.id)] == made.builds
    assert fake.counts()[path] == 3
    fake.fail(path, Reset(100_000), always=True)
    found = hydra.builds(made.id)
    some = [next(found).id for _ in range(50)]
    assert some == made.builds[:50]
    with pytest.raises(Unavailable, match="3 attempts"):
        list(found)


def test_a_compressed_answer_is_read(fake: FakeHydra, hydra: Hydra) -> None:
    made = evaluate(fake, "a")
    path = f"/eval/{made.id}/builds"
    body = gzip.compress(json.dumps([fake.builds[made.builds[0]].wire()]).encode())
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    fake.fail(path, Instead(body, headers))
    assert [each.job for each in hydra.builds(made.id)] == ["a"]
    fake.fail(path, Instead(body, {**headers, "Content-Encoding": "br"}))
    with pytest.raises(NotHydra, match="br"):
        list(hydra.builds(made.id))


@pytest.mark.parametrize("fault", [Status(500), Status(429, {"Retry-After": "1"}), Mute()])
def test_what_passes_is_waited_for(fake: FakeHydra, hydra: Hydra, fault: Status) -> None:
    made = evaluate(fake, "a")
    fake.fail("*", fault)
    assert hydra.store_paths(made.id)
    fake.fail("*", fault)
    assert len(list(hydra.builds(made.id))) == 1
    fake.fail("*", fault, always=True)
    for ask in (
        lambda: hydra.latest(P, J),
        lambda: hydra.store_paths(made.id),
        lambda: list(hydra.builds(made.id)),
        lambda: list(hydra.evaluations(P, J)),
    ):
        with pytest.raises(Unavailable, match="3 attempts"):
            ask()


def test_what_does_not_pass_is_not_asked_for_again(fake: FakeHydra, hydra: Hydra) -> None:
    made = evaluate(fake, "a")
    fake.fail("*", Status(400), always=True)
    with pytest.raises(Failing):
        list(hydra.builds(made.id))
    with pytest.raises(Failing):
        hydra.latest(P, J)
    assert len(fake.asked) == 2


def test_a_web_page_is_no_hydra(fake: FakeHydra, hydra: Hydra) -> None:
    made = evaluate(fake, "a")
    fake.fail("*", Instead(PAGE, {"Content-Type": "text/html; charset=utf-8"}), always=True)
    for ask in (
        lambda: hydra.latest(P, J),
        lambda: hydra.store_paths(made.id),
        lambda: list(hydra.builds(made.id)),
    ):
        with pytest.raises(NotHydra, match="text/html"):
            ask()


@pytest.mark.parametrize("body", [b"", b"{", b"null", b'[{"id": 1}]', b"[{}", b'{"error": "x"}'])
def test_nonsense_is_named_with_its_url(fake: FakeHydra, hydra: Hydra, body: bytes) -> None:
    made = evaluate(fake, "a")
    fake.fail("*", Instead(body, {"Content-Type": "application/json"}), always=True)
    for ask, path in (
        (lambda: hydra.evaluation(made.id), f"/eval/{made.id}"),
        (lambda: hydra.job(made.id, "a"), f"/eval/{made.id}/job/a"),
        (lambda: hydra.store_paths(made.id), f"/eval/{made.id}/store-paths"),
        (lambda: list(hydra.builds(made.id)), f"/eval/{made.id}/builds"),
        (lambda: list(hydra.evaluations(P, J)), f"/jobset/{P}/{J}/evals"),
    ):
        with pytest.raises(MalformedHydra, match=path) as caught:
            ask()
        assert isinstance(caught.value, Rejected)


def test_secrets_are_in_no_message(fake: FakeHydra, http: Http) -> None:
    hydra = Hydra(fake.url.replace("//", "//user:secret@"), http)
    fake.fail("*", Status(400), always=True)
    with pytest.raises(Failing) as caught:
        hydra.latest(P, J)
    assert "secret" not in str(caught.value) + hydra.name + hydra.address(1)
    assert fake.asked[0].headers["authorization"].startswith("Basic ")


def test_one_that_thinks_is_waited_for_and_one_that_drips_is_not(
    fake: FakeHydra, http: Http
) -> None:
    made = evaluate(fake, *(f"job{n}" for n in range(20)))
    path = f"/eval/{made.id}/builds"
    options = wire.Options(proxies={}, attempts=2, read=0.3, slowest=5_000_000, patience=0.2)
    strict = Http(options, sleep=lambda seconds: None)
    fake.fail(path, Slow(0.1))
    assert len(list(Hydra(fake.url, strict).builds(made.id))) == 20
    fake.fail(path, Drip(), always=True)
    with pytest.raises(Unavailable, match="2 attempts"):
        list(Hydra(fake.url, strict).builds(made.id))
    strict.close()


def test_what_is_waited_for_can_be_given_up(fake: FakeHydra) -> None:
    """Another thread ends the wait; without that this would take a minute a request."""
    made = evaluate(fake, "a")
    fake.fail("*", Mute(), always=True)
    client = Http(wire.Options(proxies={}, attempts=100, read=60.0))
    hydra = Hydra(fake.url, client)
    for ask in (lambda: hydra.store_paths(made.id), lambda: list(hydra.builds(made.id))):
        before = len(fake.asked)
        with ThreadPoolExecutor(1) as pool:
            asking = pool.submit(ask)
            while len(fake.asked) == before:
                time.sleep(0.001)
            with hydra.abandoned(), pytest.raises(Unavailable):
                asking.result(timeout=30)
    client.close()
