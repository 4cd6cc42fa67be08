"""`narbor mirror` against an upstream on this machine: options, what is said, exit codes."""

import json
import lzma
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from narbor.names.keys import SecretKey
from tests.cli import program
from tests.cli.program import Farm, Program
from tests.fakes.faults import Mute, Status
from tests.fakes.upstream import FakeCache


@pytest.fixture
def cache(farm: Farm) -> Iterator[FakeCache]:
    """The farm over HTTP."""
    with FakeCache() as fake:
        for path in farm.folder.rglob("*"):
            if path.is_file():
                fake.files[f"/{path.relative_to(farm.folder)}"] = path.read_bytes()
        yield fake


def items(narbor: Program) -> set[str]:
    """Return the paths of all items that are here."""
    lines = narbor("--json", "info").stdout.splitlines()
    return {json.loads(line)["path"] for line in lines}


def trust(farm: Farm) -> tuple[str, str]:
    """Return the option that believes the farm."""
    return ("--trust", str(farm.key.public))


def test_a_closure_comes_with_its_top(narbor: Program, farm: Farm, cache: FakeCache) -> None:
    """All that the path refers to comes too, and the path is pinned."""
    done = narbor("mirror", cache.url, farm.path("top"), *trust(farm))
    assert done.returncode == 0
    assert done.stdout == ""
    assert "3 items admitted" in done.stderr
    assert items(narbor) == set(map(farm.path, farm.products))
    assert json.loads(narbor("--json", "status").stdout)["pins"] == 1
    again = narbor("mirror", cache.url, farm.path("top"), *trust(farm))
    assert again.returncode == 0
    assert "0 items admitted" in again.stderr


def test_no_closure(narbor: Program, farm: Farm, cache: FakeCache) -> None:
    """--no-closure brings what was named, and nothing else."""
    done = narbor("mirror", cache.url, farm.path("top"), "--no-closure", *trust(farm))
    assert done.returncode == 0
    assert items(narbor) == {farm.path("top")}
    assert json.loads(narbor("--json", "status").stdout)["hidden"] == {}


def test_a_key_may_be_believed_from_one_cache_alone(
    narbor: Program, farm: Farm, cache: FakeCache
) -> None:
    """The same signature counts where it was said to, and nowhere else."""
    path, key, folder = farm.path("base-1.0"), str(farm.key.public), f"file://{farm.folder}"
    other = ("mirror", folder, path, "--also", cache.url)
    done = narbor("--json", *other, "--trust-from", cache.url, key)
    assert done.returncode == 0
    assert narbor("info", path).stdout.count(cache.url) == 1, "it came from the one believed"
    done = narbor("mirror", folder, farm.path("top"), "--trust-from", cache.url, key)
    assert done.returncode == 2 and "no such cache is asked" in done.stderr


def test_who_is_believed(narbor: Program, farm: Farm, cache: FakeCache, tmp_path: Path) -> None:
    """Without a key nothing comes; a key may be text, a file, configured, or imported."""
    words = ("mirror", cache.url, farm.path("base-1.0"))
    done = narbor(*words)
    assert done.returncode == 1
    assert "farm-1" in done.stderr
    assert farm.path("base-1.0") in done.stderr
    assert items(narbor) == set()
    other = SecretKey.generate("farm-1")
    assert narbor(*words, "--trust", str(other.public)).returncode == 1
    file = tmp_path / "keys"
    file.write_text(f"{other.public}\n{farm.key.public}\n")
    for number, more in enumerate((trust(farm), ("--trust", str(file)), ("--trusted",))):
        elsewhere = Program(tmp_path / f"home{number}")
        assert elsewhere(*words, *more).returncode == 0
        assert items(elsewhere) == {farm.path("base-1.0")}
    configured = Program(tmp_path / "configured")
    assert configured(*words, NARBOR_KEYS=str(farm.key.public)).returncode == 0
    imported = Program(tmp_path / "imported")
    assert imported("key", "import", str(farm.key.public)).returncode == 0
    assert imported(*words).returncode == 0


def test_paths_from_files_lists_and_hashes(
    narbor: Program, farm: Farm, cache: FakeCache, tmp_path: Path
) -> None:
    """One a line with comments, a packed list of the upstream, or a bare hash."""
    file = tmp_path / "paths"
    file.write_text(f"# mine\n\n{farm.products['base-1.0'].path.base}  # the bottom\n")
    done = narbor("mirror", cache.url, "--paths-from", str(file), *trust(farm))
    assert (done.returncode, items(narbor)) == (0, {farm.path("base-1.0")})
    hash_part = farm.products["tool-2.0"].path.hash_part
    assert narbor("mirror", cache.url, hash_part, *trust(farm)).returncode == 0
    assert farm.path("tool-2.0") in items(narbor)
    cache.files["/store-paths.xz"] = lzma.compress(farm.path("top").encode())
    done = narbor("mirror", cache.url, "--store-paths", "store-paths.xz", *trust(farm))
    assert done.returncode == 0
    assert items(narbor) == set(map(farm.path, farm.products))


def test_paths_from_standard_input(narbor: Program, farm: Farm, cache: FakeCache) -> None:
    """`-` is standard input."""
    done = subprocess.run(
        [sys.executable, "-m", "narbor", "mirror", cache.url, "--paths-from", "-", *trust(farm)],
        env=narbor.environment(),
        input=farm.path("base-1.0"),
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0
    assert items(narbor) == {farm.path("base-1.0")}


def test_a_folder_is_an_upstream(narbor: Program, farm: Farm) -> None:
    """A path and a file:// URL both name one."""
    for url, name in ((str(farm.folder), "base-1.0"), (farm.folder.as_uri(), "top")):
        assert narbor("mirror", url, farm.path(name), *trust(farm)).returncode == 0
    assert items(narbor) == set(map(farm.path, farm.products))


def test_print_only_names_what_is_missing(narbor: Program, farm: Farm, cache: FakeCache) -> None:
    """Lines of `url,filehash,size`; nothing is fetched."""
    assert narbor("mirror", cache.url, farm.path("base-1.0"), *trust(farm)).returncode == 0
    before = cache.counts()
    done = narbor("mirror", cache.url, farm.path("top"), "--print-only", *trust(farm))
    assert done.returncode == 0
    rows = [line.split(",") for line in done.stdout.splitlines()]
    for url, file_hash, size in rows:
        file = farm.folder / url.removeprefix(f"{cache.url}/")
        assert file.name.startswith(file_hash.removeprefix("sha256:"))
        assert file.stat().st_size == int(size)
    assert len(rows) == 2
    fetched = cache.counts() - before
    assert not [path for path in fetched if path.startswith("/nar/")]
    assert items(narbor) == {farm.path("base-1.0")}


def test_print_only_leaves_no_trace(narbor: Program, farm: Farm, cache: FakeCache) -> None:
    """Where there is no store, none is made; and nothing is put on record in one that is there."""
    call = ("mirror", cache.url, farm.path("top"), "--print-only")
    assert len(narbor(*call, *trust(farm)).stdout.splitlines()) == 3
    assert not narbor.home.exists()
    assert narbor("mirror", cache.url, farm.path("base-1.0"), *trust(farm)).returncode == 0
    asked = len(cache.asked)
    listed = narbor(*call, *trust(farm))
    assert len(listed.stdout.splitlines()) == 2
    assert "2 items to fetch" in listed.stderr and "1 were here" in listed.stderr
    assert not any(asked.path.startswith("/nar/") for asked in cache.asked[asked:])
    assert narbor(*call).returncode == 1
    assert "nothing failed" in narbor("failed").stderr
    assert json.loads(narbor("--json", "status").stdout)["pins"] == 1


def test_a_hash_that_nobody_knows_stops_nothing(
    narbor: Program, farm: Farm, cache: FakeCache
) -> None:
    known, unknown = farm.path("base-1.0")[11:43], "0" * 32
    done = narbor("mirror", cache.url, unknown, known, *trust(farm))
    assert done.returncode == 1
    assert f"failed: {unknown}: no cache knows" in done.stderr
    assert items(narbor) == {farm.path("base-1.0")}
    assert narbor("mirror", cache.url, unknown, *trust(farm)).returncode == 2


def test_json_gives_a_line_per_event(narbor: Program, farm: Farm, cache: FakeCache) -> None:
    """The last line sums up, and progress stays on standard error."""
    done = narbor("mirror", cache.url, farm.path("top"), "--json", *trust(farm))
    events = [json.loads(line) for line in done.stdout.splitlines()]
    admitted = {event["path"] for event in events if event["event"] == "admitted"}
    assert admitted == set(map(farm.path, farm.products))
    assert events[-1]["event"] == "done"
    assert events[-1]["counts"]["admitted"] == 3
    assert events[-1]["failed"] == []


def test_what_fails_is_listed_and_the_rest_goes_on(
    narbor: Program, farm: Farm, cache: FakeCache
) -> None:
    """One item's absence is 1, is named with the reason, and is put on record."""
    del cache.files[f"/{farm.products['base-1.0'].path.hash_part}.narinfo"]
    done = narbor("mirror", cache.url, farm.path("top"), *trust(farm))
    assert done.returncode == 1
    assert f"failed: {farm.path('base-1.0')}: {cache.url}: does not have it" in done.stderr
    assert items(narbor) == {farm.path("top"), farm.path("tool-2.0")}
    record = json.loads(narbor("--json", "failed").stdout)
    assert (record["kind"], record["upstream"]) == ("failed", cache.url)
    assert farm.products["base-1.0"].path.base in narbor("status").stdout


def test_also_asks_another_upstream(narbor: Program, farm: Farm, cache: FakeCache) -> None:
    """What the first cache lacks, the second gives."""
    del cache.files[f"/{farm.products['base-1.0'].path.hash_part}.narinfo"]
    words = ("mirror", cache.url, "--also", str(farm.folder), farm.path("top"))
    assert narbor(*words, *trust(farm)).returncode == 0
    assert items(narbor) == set(map(farm.path, farm.products))


def test_bytes_that_lie_are_never_kept(narbor: Program, farm: Farm, cache: FakeCache) -> None:
    """A NAR with a changed byte is refused with both hashes."""
    product = farm.products["base-1.0"]
    narinfo = cache.files[f"/{product.path.hash_part}.narinfo"].decode()
    url = next(line for line in narinfo.splitlines() if line.startswith("URL: "))[5:]
    other = farm.products["tool-2.0"].path.hash_part
    other_info = cache.files[f"/{other}.narinfo"].decode()
    wrong = next(line for line in other_info.splitlines() if line.startswith("URL: "))[5:]
    cache.files[f"/{url}"] = cache.files[f"/{wrong}"]
    done = narbor("mirror", cache.url, farm.path("base-1.0"), *trust(farm))
    assert done.returncode == 1
    assert farm.path("base-1.0") in done.stderr
    assert items(narbor) == set()


def test_a_file_that_differs_is_told_of(narbor: Program, farm: Farm, cache: FakeCache) -> None:
    """The NAR is right, its FileHash is not: the item is kept, and somebody should know."""
    path = f"/{farm.products['base-1.0'].path.hash_part}.narinfo"
    lines = cache.files[path].decode().splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("FileHash: "))
    lines[at] = "FileHash: sha256:" + "0" * 52
    cache.files[path] = ("\n".join(lines) + "\n").encode()
    done = narbor("mirror", cache.url, farm.path("base-1.0"), *trust(farm))
    assert done.returncode == 0
    assert "0" * 52 in done.stderr
    assert items(narbor) == {farm.path("base-1.0")}


def test_an_upstream_that_is_away_is_3(narbor: Program, farm: Farm, cache: FakeCache) -> None:
    """Nothing could be done: one line names the upstream."""
    cache.fail("*", Status(500), always=True)
    done = narbor("mirror", cache.url, farm.path("top"), "-q", *trust(farm))
    assert done.returncode == 3
    assert cache.url in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_store_that_may_not_grow_is_3(narbor: Program, farm: Farm, cache: FakeCache) -> None:
    """--min-free larger than the disk ends the run before anything is fetched."""
    done = narbor("mirror", cache.url, farm.path("top"), "--min-free", "900TB", *trust(farm))
    assert done.returncode == 3
    assert items(narbor) == set()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("http://127.0.0.1:1",), "--paths-from"),
        (("http://127.0.0.1:1", "/nix/store/short"), "short"),
        (("http://127.0.0.1:1", "x", "--jobs", "0"), "--jobs"),
        (("http://127.0.0.1:1", "x", "--rate", "-1"), "--rate"),
        (("http://127.0.0.1:1", "x", "--level", "23"), "--level"),
        (("http://127.0.0.1:1", "x", "--min-free", "lots"), "--min-free"),
        (("http://127.0.0.1:1", "x", "--trust", "nonsense"), "nonsense"),
        (("http://127.0.0.1:1", "x", "--trust", "a:b"), "'a'"),
        (("http://127.0.0.1:1", "--paths-from", "absent"), "absent"),
        (("http://127.0.0.1:1", "x", "--netrc", "absent"), "absent"),
        (("gopher://x", "x"), "gopher"),
        (("nowhere.example", "x"), "nowhere.example"),
    ],
)
def test_calls_that_cannot_be_meant_are_2(
    narbor: Program, words: tuple[str, ...], said: str
) -> None:
    """One line names what is wrong, and no store is made."""
    done = narbor("mirror", *words)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (narbor.home / "catalogue.sqlite").exists()


def test_another_store_directory_is_2(narbor: Program, farm: Farm, cache: FakeCache) -> None:
    """A cache of /gnu/store is no upstream of a store of /nix/store."""
    cache.files["/nix-cache-info"] = b"StoreDir: /gnu/store\n"
    done = narbor("mirror", cache.url, farm.path("top"), *trust(farm))
    assert done.returncode == 2
    assert "/gnu/store" in done.stderr


def test_an_interruption_is_130(narbor: Program, farm: Farm, cache: FakeCache) -> None:
    """Ctrl-C ends it at once, in one line, and the store can be used again."""
    hash_part = farm.products["tool-2.0"].path.hash_part
    cache.fail(f"/{hash_part}.narinfo", Mute(), always=True)
    running = subprocess.Popen(
        [sys.executable, "-m", "narbor", "mirror", cache.url, farm.path("top"), *trust(farm), "-q"],
        env=narbor.environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    while not cache.count(f"/{hash_part}.narinfo"):
        assert running.poll() is None
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 130
    assert said == "narbor: interrupted\n"
    cache.fail(f"/{hash_part}.narinfo")
    assert narbor("mirror", cache.url, farm.path("top"), *trust(farm)).returncode == 0
    assert items(narbor) == set(map(farm.path, farm.products))


def test_collect_frees_what_was_forgotten(narbor: Program, farm: Farm, tmp_path: Path) -> None:
    """A dry run changes nothing; then the forgotten generation goes, and the other stays."""
    newer = program.grow(tmp_path / "newer", "two")
    for each in (farm, newer):
        path = each.path("top")
        assert narbor("mirror", str(each.folder), path, *trust(each)).returncode == 0
    assert len(items(narbor)) == 6
    assert narbor("forget", farm.path("top")).returncode == 0
    dry = narbor("collect", "--dry-run", "--json")
    gone = [json.loads(line)["item"] for line in dry.stdout.splitlines()[:-1]]
    assert sorted(gone) == sorted(each.path.base for each in farm.products.values())
    assert len(items(narbor)) == 6
    assert narbor("collect").returncode == 0
    assert items(narbor) == set(map(newer.path, newer.products))
    assert narbor("verify").returncode == 0
