"""Trees as tar archives: all that is in them, and no name that leads out of them."""

import io
import tarfile

import pytest

from narbor.doors import http
from narbor.doors.http import Answer, Request
from narbor.doors.ipfs import IpfsDoor, tarstream
from narbor.doors.ipfs.contentpath import Missing
from narbor.doors.ipfs.tarstream import NoTree, Outside
from narbor.formats import unixfs
from narbor.formats.unixfs import Link
from narbor.names import cid
from narbor.names.cid import Cid
from narbor.names.cidtext import Written
from tests.fakes.dag import Dag, Symlink, Tree

NOW = 1_800_000_000 * 10**9
CONTENT = bytes(range(256)) * 20


def ask(dag: Dag, path: str, query: str = "format=tar", **headers: str) -> Answer:
    """Ask a gateway."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return http.ask([IpfsDoor(dag, lambda: NOW)], Request("GET", path, query, named))


def opened(answer: Answer) -> tarfile.TarFile:
    """Read the archive that was answered."""
    assert not isinstance(answer.body, bytes)
    return tarfile.open(fileobj=io.BytesIO(b"".join(answer.body)), errors="surrogateescape")


def directory(dag: Dag, **entries: Cid) -> Cid:
    """Keep a directory with whatever names; two underscores stand for a slash."""
    links = [
        Link(root, 1, name.replace("__", "/").encode()) for name, root in sorted(entries.items())
    ]
    return dag.put(unixfs.directory_node(links))


@pytest.mark.parametrize("largest", [0, 1 << 18])
def test_all_that_is_in_a_tree(largest: int) -> None:
    dag = Dag()
    tree: Tree = {
        b"a": {b"empty": {}, b"x": b"xx", b"n\xff": b""},
        b"long": CONTENT,
        b"link": Symlink(b"../outside"),
        "ü".encode() * 60: b"named at length",
    }
    root, _ = dag.tree(tree, largest)
    name = cid.text(root)
    answer = ask(dag, f"/ipfs/{name}")
    assert answer.status == 200
    assert answer.header("content-type") == "application/x-tar"
    assert answer.header("content-disposition") == f'attachment; filename="{name}.tar"'
    tag = answer.header("etag") or ""
    assert tag.startswith(f'W/"{name}.x-tar')
    found = opened(answer)
    members = {each.name.encode("utf-8", "surrogateescape"): each for each in found}
    top = name.encode()
    assert members.keys() == {
        top,
        *(top + b"/" + each for each in (b"a", b"a/empty", b"a/x", b"a/n\xff", b"long", b"link")),
        top + b"/" + "ü".encode() * 60,
    }
    long = found.extractfile(f"{name}/long")
    assert long is not None and long.read() == CONTENT
    assert members[top + b"/link"].linkname == "../outside"
    assert members[top + b"/a/empty"].isdir()
    assert ask(dag, f"/ipfs/{name}", if_none_match=tag).status == 304


def test_a_file_by_itself_and_what_the_accept_header_says() -> None:
    dag = Dag()
    root, _ = dag.tree({b"x": b"xx"})
    answer = ask(dag, f"/ipfs/{cid.text(root)}/x", "", accept="application/x-tar")
    leaf = cid.text(cid.raw(b"xx"))
    found = opened(answer)
    (member,) = found.getmembers()
    assert (member.name, member.size) == (leaf, 2)
    assert answer.header("content-location") == f"/ipfs/{cid.text(root)}/x?format=tar"


def test_modes_and_times_are_those_of_the_tree() -> None:
    dag = Dag()
    node = unixfs.Unixfs(unixfs.FILE, b"run", 3, mode=0o104755, mtime=(1234, 5))
    root = directory(dag, run=dag.put(unixfs.encode((), node)))
    member = opened(ask(dag, f"/ipfs/{cid.text(root)}")).getmembers()[1]
    assert (member.mode, member.mtime, member.size) == (0o755, 1234, 3)


@pytest.mark.parametrize("name", ["..", "../x", "a/../../x", "x/y", "", ".", "/etc", "a/", "../.."])
def test_names_that_lead_out_are_refused_before_anything_is_given(name: str) -> None:
    dag = Dag()
    leaf = dag.put(b"leaf", cid.RAW)
    inner = dag.put(unixfs.directory_node([Link(leaf, 4, name.encode())]))
    with pytest.raises(Outside):
        next(tarstream.stream(dag, Written(inner)))


def test_dots_that_stay_inside_what_is_above_are_followed() -> None:
    dag = Dag()
    leaf = dag.put(b"leaf", cid.RAW)
    root = directory(dag, foobar=directory(dag, directory=directory(dag, **{"..__file": leaf})))
    name = cid.text(root)
    found = opened(ask(dag, f"/ipfs/{name}"))
    assert f"{name}/foobar/file" in found.getnames()
    # Two more would be the root's own neighbour.
    out = directory(dag, foobar=directory(dag, directory=directory(dag, **{"..__..__..__f": leaf})))
    with pytest.raises(Outside):
        list(tarstream.stream(dag, Written(out)))


def test_what_is_no_tree_and_what_is_lost() -> None:
    dag = Dag()
    root, _ = dag.tree({b"a": CONTENT, b"b": b"b" * 600})
    document = directory(dag, doc=dag.put(b"\xa0", cid.DAG_CBOR))
    with pytest.raises(NoTree):
        list(tarstream.stream(dag, Written(document)))
    shown = dict(tarfile_names(dag, root))
    assert shown[f"{cid.text(root)}/b"] == 600
    dag.lose(root)
    assert ask(dag, f"/ipfs/{cid.text(root)}").status == 404
    with pytest.raises(Missing):
        next(tarstream.stream(dag, Written(root)))


def tarfile_names(dag: Dag, root: Cid) -> list[tuple[str, int]]:
    """Names and sizes."""
    return [(each.name, each.size) for each in opened(ask(dag, f"/ipfs/{cid.text(root)}"))]
