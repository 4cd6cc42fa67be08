"""Releases that must go for the rest to fit: those that were first, and no more than needed."""

import json
from pathlib import Path
from random import Random

from narbor.catalogue import Release
from narbor.library import Library
from narbor.names.file import File
from narbor.tasks.keep.quota import Over, TooMuch, excess
from tests.cli.program import Program
from tests.library.store import believed, file_nar, opened
from tests.tasks.test_collect import run

C, D = "nixos-unstable", "nixpkgs-unstable"
BIG = 300_000


def publish(library: Library, channel: str, number: int, time: int, *contents: str) -> Release:
    """Publish a release with a file of its own that lists items of these contents."""
    bases = []
    for content in contents:
        archive = file_nar(Random(content).randbytes(BIG))
        bases.append(library.admit(believed(content, archive), [archive], "test:").path.base)
    library.commit()
    release = Release(channel, f"nixos-25.05pre{number}.0123456789ab", 1, "", "a" * 40, 5)
    library.catalogue.record_release(release, bases)
    with library.keeping() as keep:
        root, seal = keep([Random(f"{channel}{number}").randbytes(BIG // 10)])
        library.catalogue.record_files(channel, release.name, [File("own", root, seal, 1)])
    library.catalogue.publish_release(channel, release.name, time)
    library.catalogue.advance(channel, release.name, time)
    return release


def told(library: Library, quota: int, *pinned: Release) -> list[tuple[str, str]]:
    """Return what must go."""
    kept = {(each.channel, each.name) for each in pinned}
    found = excess(library, quota, lambda release: (release.channel, release.name) in kept)
    return [(each.channel, each.name) for each in found if isinstance(each, Over)]


def at_rest(library: Library) -> int:
    """Return the bytes of all frames."""
    return library.blocks.index.count()[1]


def test_what_went_first_goes_first_and_no_more_than_needed(tmp_path: Path) -> None:
    with opened(tmp_path) as library:
        one = publish(library, C, 1, 10, "a", "shared")
        two = publish(library, C, 2, 20, "b", "shared")
        other = publish(library, D, 1, 15, "c")
        publish(library, C, 3, 30, "d")
        publish(library, D, 2, 40, "e")
        whole = at_rest(library)
        assert list(excess(library, whole)) == []
        first, second, third = ((each.channel, each.name) for each in (one, other, two))
        assert told(library, whole - 1) == [first]
        assert told(library, whole - BIG) == [first]
        assert told(library, whole - 2 * BIG) == [first, second]
        assert told(library, whole - 3 * BIG) == [first, second, third]
        assert told(library, whole - 2 * BIG, one) == [second, third]


def test_it_is_as_much_as_a_collection_frees(tmp_path: Path) -> None:
    with opened(tmp_path) as library:
        publish(library, C, 1, 10, "a", "shared")
        publish(library, C, 2, 20, "b", "shared")
        publish(library, C, 3, 30, "c")
        whole = at_rest(library)
        over = [each for each in excess(library, whole - BIG - 1) if isinstance(each, Over)]
        assert len(over) == 1 and over[0].size > BIG
        library.catalogue.remove_release(over[0].channel, over[0].name)
        run(library)
        assert at_rest(library) == whole - over[0].size
        rest = list(excess(library, 0))
        assert isinstance(rest[0], TooMuch)
        (last,) = (each for each in rest if isinstance(each, Over))
        library.catalogue.remove_release(last.channel, last.name)
        run(library)
        assert at_rest(library) == rest[0].size == whole - over[0].size - last.size


def test_pins_and_what_is_in_the_making_stay(tmp_path: Path) -> None:
    with opened(tmp_path) as library:
        one = publish(library, C, 1, 10, "a")
        publish(library, C, 2, 20, "b")
        base = next(iter(library.catalogue.release_paths(C, one.name)))
        item = library.item(base)
        assert item is not None
        library.pin(item.path)
        making = Release(C, "nixos-25.05pre9.0123456789ab", 1, "", "a" * 40, 5)
        library.catalogue.record_release(making, [])
        found = list(excess(library, 0))
        assert isinstance(found[0], TooMuch)
        (over,) = (each for each in found if isinstance(each, Over))
        assert over.name == one.name and over.size < BIG


def test_the_program_takes_them_out(tmp_path: Path) -> None:
    """A dry run says what would go; the next one is told by the configuration, with its pins."""
    narbor = Program(tmp_path / "home")
    with opened(narbor.home) as library:
        one = publish(library, C, 1, 10, "a")
        two = publish(library, C, 2, 20, "b")
        publish(library, C, 3, 30, "c")
        whole = at_rest(library)
    done = narbor("--json", "collect", "--dry-run", "--quota", str(whole - 1))
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [each["release"] for each in events if each["event"] == "over"] == [one.name]
    assert done.returncode == 0
    (narbor.home / "narbor.toml").write_text(
        f'quota = "{whole - 1}"\n[[channel]]\nname = "{C}"\nproject = "p"\njobset = "j"\n'
        f'pinned = ["{one.name}"]\n'
    )
    assert two.name in narbor("collect").stdout
    listed = narbor("release", "list").stdout
    assert one.name in listed and two.name not in listed
    done = narbor("collect", "--quota", "1")
    assert done.returncode == 1
    assert "more than the quota" in done.stderr
