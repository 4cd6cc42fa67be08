"""The fake itself: what other tests and the demo rely on, where `upstream.hydra` does not look."""

import http.client
import json
from collections.abc import Iterator

import pytest
from tests.fakes.hydra import FakeHydra
from tests.fakes.hydra_tables import HydraBuild

P, J = "nixos", "trunk"
JSON = "application/json"


@pytest.fixture
def fake() -> Iterator[FakeHydra]:
    with FakeHydra() as server:
        yield server


@pytest.fixture
def iso(fake: FakeHydra) -> HydraBuild:
    build = fake.build(fake.evaluate(P, J), "iso")
    build.offer("file", "iso", "x y.iso", b"an image")
    build.offer("channel", "", "nixexprs.tar.xz", b"expressions")
    return build


def get(fake: FakeHydra, path: str, accept: str = JSON) -> tuple[int, str, str, bytes]:
    """Ask once: status, media type, where it leads, body."""
    connection = http.client.HTTPConnection(fake.url.removeprefix("http://"), timeout=10)
    connection.request("GET", path, headers={"Accept": accept})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    assert answer.headers["Vary"] == "Accept"
    kind = answer.headers.get("Content-Type", "").partition(";")[0]
    return answer.status, kind, answer.headers.get("Location", "").removeprefix(fake.url), body


@pytest.mark.parametrize("accept", ["*/*", "text/html", ""])
def test_people_get_pages(fake: FakeHydra, iso: HydraBuild, accept: str) -> None:
    assert get(fake, f"/build/{iso.id}", accept)[:2] == (200, "text/html")
    assert get(fake, "/build/1", accept)[:2] == (404, "text/html")
    # There is no page for these, and that is an error.
    assert get(fake, f"/eval/{iso.evaluations[0]}/store-paths", accept)[0] == 500


def test_programs_get_json_even_of_errors(fake: FakeHydra, iso: HydraBuild) -> None:
    for accept in (JSON, "text/x-json", "text/html;q=0.5, application/json"):
        status, kind, _, body = get(fake, f"/build/{iso.id}", accept)
        assert (status, kind, json.loads(body)["job"]) == (200, JSON, "iso")
    status, kind, _, body = get(fake, "/build/1")
    assert (status, kind) == (404, JSON)
    assert json.loads(body) == {"error": "Build with ID 1 doesn't exist."}
    assert get(fake, "/nonsense")[0] == 404


def test_products_are_downloaded_by_number_name_and_type(fake: FakeHydra, iso: HydraBuild) -> None:
    full = f"/build/{iso.id}/download/1/x%20y.iso"
    for path in ("download", "download/1", "download-by-type/file/iso"):
        assert get(fake, f"/build/{iso.id}/{path}")[::2] == (302, full)
    assert get(fake, full)[3] == b"an image"
    assert get(fake, f"/build/{iso.id}/download/x%20y.iso")[3] == b"an image"
    for path in ("download/9", "download-by-type/file/ova"):
        assert get(fake, f"/build/{iso.id}/{path}")[0] == 404


def test_the_rest_of_a_path_is_carried_over(fake: FakeHydra, iso: HydraBuild) -> None:
    rest = "/download-by-type/file/iso"
    for path in (
        f"/job/{P}/{J}/iso/latest{rest}",
        f"/job/{P}/{J}/iso/latest-finished{rest}",
        f"/job/{P}/{J}/iso/latest-for/x86_64-linux{rest}",
        f"/jobset/{P}/{J}/latest{rest}",
        f"/eval/{iso.evaluations[0]}/job/iso{rest}",
    ):
        assert get(fake, path)[::2] == (302, f"/build/{iso.id}{rest}")
    assert get(fake, f"/job/{P}/{J}/iso/latest-for/builtin")[0] == 404
    found = get(fake, f"/jobset/{P}/{J}/latest-eval/store-paths")
    assert found[::2] == (302, f"/eval/{iso.evaluations[0]}/store-paths?name={J}")


def test_channels_need_a_local_store(fake: FakeHydra, iso: HydraBuild) -> None:
    tarball = f"/jobset/{P}/{J}/channel/latest/nixexprs.tar.bz2"
    assert get(fake, tarball)[0] == 404
    fake.local_store = True
    assert get(fake, tarball)[:2] == (200, "application/x-bzip2")
    at = get(fake, f"/job/{P}/{J}/iso/channel/latest/binary-cache-url")[3]
    assert at.decode() == f"{fake.url}/"
    found = get(fake, f"/channel/custom/{P}/{J}/iso/nixexprs.tar.xz")
    assert found[::2] == (302, f"/build/{iso.id}/download/2/nixexprs.tar.xz")


def test_the_latest_builds(fake: FakeHydra, iso: HydraBuild) -> None:
    evaluation = fake.evals[iso.evaluations[0]]
    more = [fake.build(evaluation, f"job{n}", buildstatus=n) for n in range(3)]
    fake.build(evaluation, "late", finished=0)
    status, kind, _, body = get(fake, f"/api/latestbuilds?nr=2&project={P}&jobset={J}")
    assert (status, kind) == (200, JSON)
    found = json.loads(body)
    assert [each["id"] for each in found] == [more[2].id, more[1].id]
    assert [each["buildstatus"] for each in found] == [2, 1]
