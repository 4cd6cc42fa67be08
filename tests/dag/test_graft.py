"""References exchanged in a stream, however it is cut."""

from hypothesis import given
from hypothesis import strategies as st

from narbor.dag.graft import graft
from tests.trees import chunked

OLD, NEW, KEPT = b"a" * 32, b"b" * 32, b"c" * 32
pieces = st.lists(
    st.one_of(
        st.binary(max_size=60),
        st.sampled_from([b"/nix/store/" + OLD, b"/gnu/store/" + OLD, b"/nix/store/" + KEPT]),
        st.sampled_from([OLD, b"/nix/store/", b"/nix/store/" + OLD[:20]]),
    ),
    max_size=12,
)


@given(pieces, st.integers(1, 100))
def test_the_chunks_make_no_difference(parts: list[bytes], size: int) -> None:
    data = b"".join(parts)
    swaps = {OLD: NEW}
    whole = b"".join(graft([data], swaps))
    assert b"".join(graft(chunked(data, size), swaps)) == whole
    assert len(whole) == len(data)
    assert b"".join(graft([data], {})) == data


def test_only_references_are_exchanged() -> None:
    data = b"/nix/store/" + OLD + b"-x " + OLD + b" /gnu/store/" + OLD + b"/nix/store/" + KEPT
    expected = b"/nix/store/" + NEW + b"-x " + OLD + b" /gnu/store/" + NEW + b"/nix/store/" + KEPT
    assert b"".join(graft([data], {OLD: NEW})) == expected
