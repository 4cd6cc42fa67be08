"""Hypothesis strategies for trees, as NAR events, and NARs that are almost right."""

from collections.abc import Iterator

from hypothesis import strategies as st

from narbor.formats import nar

HASH = b"0123456789abcdfghijklmnpqrsvwxyz"
names = st.binary(min_size=1, max_size=12).filter(
    lambda name: name not in (b".", b"..") and b"/" not in name and 0 not in name
)
references = st.sampled_from([b"/nix/store/", b"/gnu/store/"]).map(lambda store: store + HASH)
contents = st.lists(
    st.one_of(st.binary(max_size=400), references, st.just(b"/nix/store/"), st.just(HASH[:20])),
    max_size=6,
).map(b"".join)

Tree = tuple[str, object, bool]
files = st.tuples(st.just("file"), contents, st.booleans())
links = st.tuples(
    st.just("link"),
    st.binary(min_size=1, max_size=200).filter(lambda target: 0 not in target),
    st.just(False),
)
trees: st.SearchStrategy[Tree] = st.recursive(
    st.one_of(files, links),
    lambda below: st.tuples(
        st.just("folder"), st.dictionaries(names, below, max_size=5), st.just(False)
    ),
    max_leaves=20,
)


def events(tree: Tree, name: bytes = b"") -> Iterator[nar.Event[bytes]]:
    """Give the events of a drawn tree."""
    kind, value, executable = tree
    if kind == "file":
        assert isinstance(value, bytes)
        yield nar.File(name, executable, len(value))
        if value:
            yield nar.Data(value)
    elif kind == "link":
        assert isinstance(value, bytes)
        yield nar.Symlink(name, value)
    else:
        assert isinstance(value, dict)
        yield nar.Directory(name)
        for inner in sorted(value):
            yield from events(value[inner], inner)
        yield nar.END


archives = trees.map(lambda tree: b"".join(nar.write(events(tree))))


def chunked(data: bytes, size: int) -> Iterator[bytes]:
    """Cut bytes into chunks of a size, as a network would."""
    for at in range(0, len(data), size):
        yield data[at : at + size]
