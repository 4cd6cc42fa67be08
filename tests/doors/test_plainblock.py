"""The short way to a block gives what the long way does, or nothing."""

from hypothesis import given
from hypothesis import strategies as st

from narbor.doors.http import Request
from narbor.doors.ipfs import IpfsDoor, plainblock
from narbor.doors.ipfs.withheld import Withheld, hash_of
from narbor.names import cid, cidtext
from narbor.names.cid import Cid
from tests.fakes.dag import Dag

CODECS = (cid.RAW, cid.DAG_PB, cid.DAG_CBOR, cid.DAG_JSON, cid.LIBP2P_KEY)
# It names no tag, but whoever sends it goes the long way.
LONG = {"if-none-match": '"another"'}


def request(name: str, **headers: str) -> Request:
    """Ask for a block."""
    return Request("GET", f"/ipfs/{name}", "format=raw", headers)


@given(st.binary(max_size=300), st.sampled_from(CODECS), st.sampled_from(CODECS))
def test_both_ways_give_the_same(block: bytes, kept: int, asked: int) -> None:
    dag = Dag()
    dag.put(block, kept)
    name = cidtext.text(Cid(b"\1" + cid.varint(asked) + cid.raw(block)[2:]))
    door = IpfsDoor(dag, lambda: 0)
    short = plainblock.answer(dag, request(name, accept="application/vnd.ipld.raw"))
    long = door.answer(request(name, **LONG))
    assert long is not None
    assert (short is not None) == (long.status == 200 and asked in CODECS[:3])
    if short is not None:
        assert not isinstance(long.body, bytes)
        assert (short.status, short.body) == (200, b"".join(long.body))
        assert sorted(short.headers) == sorted(long.headers)
        assert door.answer(request(name)) == short


@given(
    st.sampled_from(("GET", "HEAD", "POST")),
    st.sampled_from(("", "/", "/a", "?")),
    st.sampled_from(("", "format=raw", "format=car", "format=raw&x=", "format=raw&filename=a")),
    st.dictionaries(
        st.sampled_from(("accept", "range", "cache-control", "if-match", "x-other")),
        st.sampled_from(("*/*", "text/html", "bytes=0-1", "only-if-cached", '"x"')),
    ),
)
def test_only_the_plain_question_is_answered(
    method: str, more: str, query: str, headers: dict[str, str]
) -> None:
    dag = Dag()
    name = cidtext.text(dag.put(b"a block", cid.RAW))
    asked = Request(method, f"/ipfs/{name}{more}", query, headers)
    plain = (
        (method, more, query) == ("GET", "", "format=raw")
        and headers.get("accept", "*/*") == "*/*"
        and set(headers) <= {"accept", "x-other"}
    )
    assert (plainblock.answer(dag, asked) is not None) == plain


def test_what_is_not_given() -> None:
    """It is left to the long way to say so."""
    dag = Dag()
    name = dag.put(b"a block", cid.RAW)
    absent = cidtext.text(cid.raw(b"another"))
    assert plainblock.answer(dag, request(absent)) is None
    withheld = Withheld(dag, frozenset({hash_of(name)}))
    assert plainblock.answer(withheld, request(cidtext.text(name))) is None
    answer = IpfsDoor(withheld, lambda: 0).answer(request(cidtext.text(name)))
    assert answer is not None and answer.status == 410
    assert plainblock.answer(dag, request("bafkrei" + "7" * 52)) is None
