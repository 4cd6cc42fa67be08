"""`narbor replicate` and the way back, `narbor import`: CARs between stores that never meet."""

import json
from pathlib import Path

import pytest

from narbor.formats import carfolder
from narbor.formats.carfolder import MANIFEST
from narbor.wiring import holders
from narbor.wiring.holders import NoTarget
from tests.cli import program
from tests.cli.program import Farm, Program
from tests.cli.test_import import counts
from tests.fakes.pinning import TOKEN, FakeService
from tests.serve.pushing import TOKEN as TOKEN_OF_THE_LAPTOP
from tests.serve.pushing import pushed


@pytest.fixture
def far(tmp_path: Path) -> Program:
    """The program on the far side, with an empty home."""
    return Program(tmp_path / "far" / "home")


def published(narbor: Program) -> str:
    """Publish; return the root."""
    done = narbor("publish")
    assert done.returncode == 0, done.stderr
    return done.stdout.split()[0]


def roots(narbor: Program) -> dict[str, str]:
    """Return the roots that are kept by name."""
    found: dict[str, str] = json.loads(narbor("--json", "status").stdout)["roots"]
    return found


def test_words_of_targets(tmp_path: Path) -> None:
    assert holders.kind("kubo:http://127.0.0.1:5001") == holders.KUBO
    assert holders.kind("http://127.0.0.1:5001/api/v0") == holders.KUBO
    assert holders.kind("https://cache.example.org") == holders.NARBOR
    assert holders.kind("pin:https://pins.example.org") == holders.SERVICE
    assert holders.kind("some/file.car") == holders.FILE
    assert holders.kind("some/folder/") == holders.FOLDER
    assert holders.kind(str(tmp_path)) == holders.FOLDER
    for wrong in ("file.tar", "ftp://host", "host"):
        with pytest.raises(NoTarget):
            holders.kind(wrong)


def test_nothing_published_says_so_and_how(filled: Program, tmp_path: Path) -> None:
    done = filled("replicate", str(tmp_path / "x.car"))
    assert done.returncode == 2
    assert "narbor publish" in done.stderr
    assert not (tmp_path / "x.car").exists()


def test_a_cache_goes_through_a_file(
    filled: Program, far: Program, farm: Farm, tmp_path: Path
) -> None:
    root = published(filled)
    car = tmp_path / "cache.car"
    done = filled("replicate", str(car))
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["narbor/cache", root]
    again = filled("--json", "replicate", str(car))
    facts = json.loads(again.stdout.splitlines()[-1])
    assert (again.returncode, facts["sent"], facts["kept"]) == (0, 0, True)
    done = far("import", str(car), "--trust", str(farm.key.public))
    assert done.returncode == 0, done.stderr
    assert counts(far) == (3, 0)
    assert roots(far) == {"narbor/cache": root}
    assert published(far) == root
    assert far("import", str(car), "--trust", str(farm.key.public)).returncode == 0
    assert counts(far) == (3, 0)


def test_a_folder_is_a_diode(filled: Program, far: Program, farm: Farm, tmp_path: Path) -> None:
    """Each run adds a CAR with what is new; each is carried over alone, and read over there."""
    out, carried = tmp_path / "out", tmp_path / "carried"
    carried.mkdir()
    one = published(filled)
    assert filled("replicate", f"{out}/").returncode == 0
    newer = program.grow(tmp_path / "newer", "two")
    program.fill(filled.home, newer)
    two = published(filled)
    assert two != one
    assert filled("replicate", f"{out}/").returncode == 0
    assert sorted(path.name for path in out.glob("*.car")) == ["000001.car", "000002.car"]
    assert (out / "000002.car").stat().st_size < (out / "000001.car").stat().st_size * 3
    found = carfolder.parse((out / MANIFEST).read_bytes())
    assert [each.file for each in found.cars] == ["000001.car", "000002.car"]
    keys = ("--trust", str(farm.key.public), "--trust", str(newer.key.public))
    for name in ("000001.car", "000002.car"):
        (carried / name).write_bytes((out / name).read_bytes())
        done = far("import", str(carried / name), "--name", "narbor/cache", *keys)
        assert done.returncode == 0, done.stderr
        (carried / name).unlink()
    assert roots(far) == {"narbor/cache": two}
    assert counts(far)[0] == counts(filled)[0]
    third = Program(tmp_path / "third" / "home")
    done = third("import", str(out), *keys)
    assert done.returncode == 0, done.stderr
    assert roots(third) == {"narbor/cache": two}
    assert counts(third)[0] == counts(filled)[0]


def test_a_difference_alone_is_not_enough(
    filled: Program, far: Program, farm: Farm, tmp_path: Path
) -> None:
    one = published(filled)
    newer = program.grow(tmp_path / "newer", "two")
    program.fill(filled.home, newer)
    two = published(filled)
    base, difference = tmp_path / "one.car", tmp_path / "two.car"
    assert filled("replicate", str(base), "--what", one, "--name", "n").returncode == 0
    done = filled("replicate", str(difference), "--since", one, "--name", "n")
    assert done.returncode == 0, done.stderr
    assert difference.stat().st_size < base.stat().st_size * 3
    keys = ("--trust", str(farm.key.public), "--trust", str(newer.key.public))
    done = far("import", str(difference), *keys)
    assert done.returncode == 1
    assert "blocks lack" in done.stderr
    assert roots(far) == {}
    assert far("import", str(base), *keys).returncode == 0
    done = far("import", str(difference), *keys)
    assert done.returncode == 0, done.stderr
    assert roots(far) == {"n": two}
    assert counts(far)[0] == counts(filled)[0]


def test_check_finds_what_is_damaged(filled: Program, tmp_path: Path) -> None:
    published(filled)
    out = tmp_path / "out"
    assert filled("replicate", f"{out}/").returncode == 0
    assert filled("replicate", f"{out}/", "--check").returncode == 0
    car = out / "000001.car"
    data = bytearray(car.read_bytes())
    data[-1] ^= 1
    car.write_bytes(data)
    done = filled("--json", "replicate", f"{out}/", "--check")
    assert done.returncode == 1
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["event"] for event in events] == ["lacking", "done"]
    assert "lack there" in done.stderr
    assert "narbor replicate" in done.stderr
    done = filled("replicate", f"{out}/", "--whole")
    assert done.returncode == 0, done.stderr
    assert filled("replicate", f"{out}/", "--check").returncode == 0
    found = carfolder.parse((out / MANIFEST).read_bytes())
    assert [found.is_superseded(each) for each in found.cars] == [True, False]


def test_calls_that_cannot_be_meant(filled: Program, tmp_path: Path) -> None:
    published(filled)
    for words in (
        ("nowhere",),
        ("kubo:http://127.0.0.1:1", "--whole"),
        (str(tmp_path / "x.car"), "--what", "nothing"),
        (str(tmp_path / "none.car"), "--check"),
        (f"{tmp_path}/none/", "--check"),
        (str(tmp_path / "x.car"), "--since", "nothing"),
    ):
        done = filled("replicate", *words)
        assert done.returncode == 2, words
        assert "Traceback" not in done.stderr
    assert filled("replicate", "kubo:http://127.0.0.1:1").returncode == 3


def test_a_service_promises(filled: Program) -> None:
    root = published(filled)
    with FakeService(begins="pinned") as service:
        target = f"pin:{service.url}"
        token = {"NARBOR_MIRROR_TOKENS": f"{service.place}={TOKEN}"}
        assert filled("replicate", target, "--check", **token).returncode == 1
        assert service.states() == {}
        done = filled("replicate", target, **token)
        assert done.returncode == 0, done.stderr
        assert done.stdout.split() == ["narbor/cache", root]
        assert "public-url" in done.stderr
        assert service.states() == {root: "pinned"}
        assert filled("replicate", target, "--check", **token).returncode == 0
        assert filled("replicate", target, "--whole", **token).returncode == 2
        assert filled("replicate", target).returncode == 2


def test_a_service_that_is_slow_need_not_be_waited_for(filled: Program) -> None:
    published(filled)
    with FakeService() as service:
        token = {"NARBOR_MIRROR_TOKENS": f"{service.place}={TOKEN}"}
        origin = {"NARBOR_IPFS_PUBLIC_URL": "https://cache.example.org"}
        done = filled("replicate", f"pin:{service.url}", "--no-wait", **token, **origin)
        assert done.returncode == 1
        assert "queued" in done.stderr
        (request,) = service.requests.values()
        assert request["pin"]["origins"] == ["/dns/cache.example.org/tcp/443/tls/http"]


def test_another_narbor_is_given_the_cache(filled: Program, farm: Farm, tmp_path: Path) -> None:
    root = published(filled)
    (tmp_path / "over").mkdir()
    keys = f'keys = ["{farm.key.public}"]'
    with pushed(tmp_path / "over", more=keys) as there:
        token = {"NARBOR_MIRROR_TOKENS": f"127.0.0.1:{there.port}={TOKEN_OF_THE_LAPTOP}"}
        assert filled("replicate", there.url, "--check", **token).returncode == 1
        done = filled("replicate", there.url, **token)
        assert done.returncode == 0, done.stderr
        assert done.stdout.split() == ["narbor/cache", root]
        assert "3 items came in" in done.stderr
        again = filled("--json", "replicate", there.url, **token)
        facts = json.loads(again.stdout.splitlines()[-1])
        assert (again.returncode, facts["sent"], facts["kept"]) == (0, 0, True)
        assert filled("replicate", there.url).returncode == 2
    assert filled("replicate", there.url, **token).returncode == 3


def test_the_push_of_old_is_understood(filled: Program) -> None:
    done = filled("ipfs-mirror-push", "--ssh", "mirror.example.org", "--path", "/var/www/cache")
    assert done.returncode == 2
    assert "ssh -N -L" in done.stderr
