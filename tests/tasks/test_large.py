"""Two thousand small items in one run of the program; bench/large.py is the same, and larger."""

from pathlib import Path

from tests.cli.program import Program
from tests.fakes import crowd
from tests.fakes.upstream import FakeCache


def test_a_deep_graph_with_holes_comes_in_and_is_not_asked_for_again(tmp_path: Path) -> None:
    world = crowd.grow(tmp_path / "cache", layers=50, width=40)
    missing = world.unclaimed | world.gone
    assert len(world.unclaimed) > 5 and len(world.gone) > 5 and len(world.found) > 1900
    paths = tmp_path / "paths"
    paths.write_text("".join(f"/nix/store/{base}\n" for base in world.roots))
    narbor = Program(tmp_path / "home")
    with FakeCache() as cache:
        for file in world.folder.rglob("*"):
            if file.is_file():
                cache.files[f"/{file.relative_to(world.folder)}"] = file.read_bytes()
        call = ("mirror", cache.url, "--paths-from", str(paths), "--trust", str(crowd.KEY.public))
        first = narbor(*call)
        assert f"{len(world.found):,} items admitted" in first.stderr
        asked = cache.counts()
        claims = {path for path in asked if path.endswith(".narinfo")}
        assert len(claims) == len(world.found | missing)
        assert set(asked.values()) == {1}, "something was asked for twice"
        again = narbor(*call)
        news = cache.counts() - asked
    assert (first.returncode, again.returncode) == (1, 1)
    # What is here is not asked for; what failed is.
    assert again.stderr.startswith("mirror: ") and "0 items admitted" in again.stderr
    gone = {base[:32] for base in missing}
    assert {path[1:33] for path in news if path.endswith(".narinfo")} == gone
    assert sum(path.startswith("/nar/") for path in news) == len(world.gone)
    failed = narbor("failed").stdout.splitlines()
    reasons = dict(zip((line.split()[2] for line in failed[::2]), failed[1::2], strict=True))
    assert reasons.keys() == missing
    assert all("does not have it" in reasons[base] for base in world.unclaimed)
    assert all("HTTP 404" in reasons[base] for base in world.gone)
