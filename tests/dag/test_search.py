"""`search.find` gives what `bytes.find` gives, in little data and in much."""

from hypothesis import given
from hypothesis import strategies as st

from narbor.dag.search import find

FILL = b"/stor/store" * 2000


@given(
    st.integers(0, 20_000),
    st.integers(0, 20_000),
    st.integers(0, 45_000),
    st.sampled_from([b"/store/", b"\0", b"e/store/x"]),
)
def test_finds_what_bytes_find(before: int, behind: int, start: int, needle: bytes) -> None:
    data = FILL[:before] + needle + FILL[:behind] + needle
    start = min(start, len(data))
    assert find(data, needle, start) == data.find(needle, start)


def test_is_as_good_at_the_end_of_the_data() -> None:
    data = bytes(100_000)
    assert find(data, b"\0\0", len(data) - 2) == len(data) - 2
    assert find(data, b"\0\0", len(data) - 1) == -1
    assert find(data, b"\0", len(data)) == -1
    assert find(data, b"x", 0) == -1
