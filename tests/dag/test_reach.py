"""All that hangs from a root is met, once, in any codec; what is lost ends only its branch."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narbor.dag.reach import is_inline, reach
from narbor.errors import NarborError, Unavailable
from narbor.formats import ipld, unixfs
from narbor.names import cid
from narbor.names.cid import Cid
from tests.tasks.replicate.dags import Blocks, dags, join


class Seen:
    """Says yes to each name once."""

    def __init__(self) -> None:
        self.names: set[Cid] = set()

    def __call__(self, name: Cid) -> bool:
        """Say yes the first time."""
        new = name not in self.names
        self.names.add(name)
        return new


@given(dags())
def test_every_block_is_met_once_and_after_one_that_links_to_it(dag: tuple[Cid, Blocks]) -> None:
    root, blocks = dag
    met = list(reach(root, blocks.__getitem__, Seen()))
    assert sorted(met) == sorted(blocks)
    linked = {root}
    for name in met:
        assert name in linked
        ahead = list(ipld.targets(name, blocks.__getitem__))
        while ahead:
            target = ahead.pop()
            linked.add(target)
            if is_inline(target):
                ahead += ipld.targets(target, blocks.__getitem__)


@given(dags(), st.data())
def test_what_is_lost_is_told_and_the_rest_is_met(
    dag: tuple[Cid, Blocks], data: st.DataObject
) -> None:
    root, blocks = dag
    lost = data.draw(st.sampled_from(sorted(blocks)))
    told: list[Cid] = []

    def get(name: Cid) -> bytes:
        if name == lost:
            raise Unavailable("it is lost")
        return blocks[name]

    def complain(name: Cid, error: NarborError) -> None:
        told.append(name)

    met = set(reach(root, get, Seen(), complain))
    read = cid.codec(lost) != cid.RAW
    assert told == ([lost] if read else [])
    assert lost in met
    if read:
        with pytest.raises(Unavailable):
            list(reach(root, get, Seen()))


def test_identity_cids_of_every_codec_are_looked_into() -> None:
    blocks: Blocks = {}
    leaf = join(blocks, [], cid.RAW, 1)
    node = unixfs.file_node([(leaf, 6, 6)])
    for codec, content in (
        (cid.DAG_PB, node),
        (cid.DAG_JSON, b'{"a":{"/":"%s"}}' % cid.text(leaf).encode()),
    ):
        inside = Cid(b"\1" + cid.varint(codec) + b"\0" + cid.varint(len(content)) + content)
        assert is_inline(inside)
        assert list(reach(inside, blocks.__getitem__, Seen())) == [leaf]
    assert not is_inline(leaf)
