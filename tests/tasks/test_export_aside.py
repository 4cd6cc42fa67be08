"""What stands beside archives in an exported folder: listings, logs, realisations, symbols."""

import json
from pathlib import Path

from narbor.formats import listing, nar, narinfo
from narbor.formats.vouched import vouch
from narbor.library import Library
from narbor.names.item import Item
from narbor.names.keys import Keyring
from narbor.tasks.export import Options
from narbor.tasks.export.asidetree import Beside
from narbor.tasks.export.cachetree import Deleted, Form
from tests.library.store import believed, opened
from tests.tasks.exported import seen
from tests.tasks.test_export import done, run

BUILD_ID = "abcdef0123456789"
DRV = f"{'0' * 32}-built.drv"
ALL = Options(beside=Beside(listing.write, logs=True))


def built(library: Library, name: str) -> Item:
    """Put in an item with debug symbols, a deriver, and what else there is of it."""
    path = (b"lib", b"debug", b".build-id", BUILD_ID[:2].encode())
    events: list[nar.Event[bytes]] = [nar.Directory(b""), *map(nar.Directory, path)]
    events += [nar.File(f"{BUILD_ID[2:]}.debug".encode(), False, 7), nar.Data(b"symbols")]
    archive = b"".join(nar.write([*events, *[nar.END] * 5]))
    claim = believed(name, archive).narinfo
    text = narinfo.write(claim) + f"Deriver: {DRV}\n".encode()
    vouched = vouch(narinfo.parse(text), Keyring(()), trusted=True)
    item = library.admit(vouched, [archive], "test:")
    library.commit()
    library.keep_log(DRV, b"building\n")
    said = json.dumps({"outPath": item.path.base}).encode()
    for id in (f"sha256:{'a' * 64}!out", f"{DRV}/out", "../../up", f"sha256:{'b' * 64}!../x"):
        library.keep_realisation(id, said)
    library.keep_realisation(f"sha256:{'c' * 64}!out", b'{"outPath": "another"}')
    library.keep_realisation(f"sha256:{'d' * 64}!out", b"nonsense")
    return item


def test_all_of_it_is_where_nix_would_have_put_it(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with opened(tmp_path / "home") as library:
        item = built(library, "built")
        assert done(run(library, out, ALL)).files == 5
        assert (out / "log" / DRV).read_bytes() == b"building\n"
        tree = json.loads((out / f"{item.path.hash_part}.ls").read_bytes())
        assert tree["root"]["entries"]["lib"]["type"] == "directory"
        realised = [path.name for path in (out / "realisations").iterdir()]
        assert realised == [f"sha256:{'a' * 64}!out.doi"]
        said = json.loads((out / "build-trace-v2" / DRV / "out.doi").read_bytes())
        assert said == {"outPath": item.path.base}
        symbols = json.loads((out / "debuginfo" / f"{BUILD_ID}.debug").read_bytes())
        assert symbols["member"] == f"lib/debug/.build-id/{BUILD_ID[:2]}/{BUILD_ID[2:]}.debug"
        assert (out / "debuginfo" / symbols["archive"]).resolve().is_file()
        assert not (tmp_path / "up.doi").exists() and not (out.parent / "up.doi").exists()
        before = seen(out)
        assert done(run(library, out, ALL)).files == 0
        assert seen(out) == before


def test_what_is_not_asked_for_goes_and_the_rest_follows_the_archives(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with opened(tmp_path / "home") as library:
        item = built(library, "built")
        run(library, out, ALL)
        (out / "log" / "access.log").write_text("another's")
        told = run(library, out, Options(delete=True))
        names = {each.name for each in told if isinstance(each, Deleted)}
        assert names == {f"{item.path.hash_part}.ls", f"log/{DRV}"}
        run(library, out, Options(Form("none"), delete=True))
        symbols = json.loads((out / "debuginfo" / f"{BUILD_ID}.debug").read_bytes())
        assert (out / "debuginfo" / symbols["archive"]).resolve().is_file()
        library.catalogue.remove([item.path.base])
        run(library, out, Options(delete=True))
        left = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
        assert left == {".narbor/lock", "lastsync", "log/access.log", "nix-cache-info"}


def test_nothing_is_written_for_what_is_not_exported(tmp_path: Path) -> None:
    with opened(tmp_path / "home") as library:
        built(library, "built")
        run(library, tmp_path / "out", ALL, roots=[])
        run(library, tmp_path / "dry", Options(Form(dry=True), beside=ALL.beside))
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        ".narbor", "lastsync", "nar", "nix-cache-info",
    }  # fmt: skip
    assert not (tmp_path / "dry").exists()
