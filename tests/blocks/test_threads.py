"""Readers, writers and syncs at once: what was put is always found."""

from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from threading import Event

from narbor.blocks.files import Files
from narbor.blocks.index import Index
from narbor.blocks.packs import PackStore
from narbor.names import cid

NAMES = count()


def test_what_was_put_is_found_while_another_thread_syncs(tmp_path: Path) -> None:
    files = Files(tmp_path / "packs")
    index = Index(tmp_path / "index.sqlite", True)
    store = PackStore(files, index, lambda: f"{next(NAMES):06}.pack", 1, largest=20_000)
    over = Event()

    def write(who: int) -> None:
        for number in range(400):
            blocks = [
                (cid.raw(data), data) for data in (b"%d %d %d" % (who, number, n) for n in range(3))
            ]
            store.put_many(blocks)
            assert list(store.get_many([name for name, _ in blocks])) == [
                data for _, data in blocks
            ]
            assert store.missing(name for name, _ in blocks) == set()

    def sync() -> None:
        while not over.is_set():
            store.sync()

    with ThreadPoolExecutor(4) as pool:
        syncing = pool.submit(sync)
        writing = [pool.submit(write, who) for who in range(3)]
        for job in writing:
            job.result()
        over.set()
        syncing.result()
    store.close()
    files.close()
