"""Records of names, sent and fetched over the wire."""

import http.client
import time
from pathlib import Path

from narbor import wiring
from narbor.config import Config
from narbor.formats import ipns
from narbor.names import peerkey
from narbor.names.peerkey import PeerKey
from tests.serve.running import PATIENCE, Running, program

KEY = PeerKey(bytes(range(32)))
PATH = f"/routing/v1/ipns/{peerkey.text(KEY.name)}"
TYPE = {"content-type": "application/vnd.ipfs.ipns-record"}


def put(server: Running, text: bytes) -> int:
    """Send a record; return the status."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    try:
        connection.request("PUT", PATH, text, TYPE)
        return connection.getresponse().status
    finally:
        connection.close()


def test_a_record_is_kept_and_given_where_that_is_said(tmp_path: Path) -> None:
    wiring.open_library(Config(home=tmp_path), write=True).close()
    record = ipns.create(KEY, b"/ipfs/bafkqaaa", 0, time.time_ns() + ipns.HOUR)
    with program(tmp_path, home=tmp_path) as server:
        assert put(server, record) in (405, 413)
        assert server.get(PATH)[1] != record
    (tmp_path / "narbor.toml").write_text("[ipfs]\naccept-records = true\n")
    with program(tmp_path, home=tmp_path) as server:
        assert put(server, record) == 200
        assert server.get(PATH) == (200, record)
        assert server.get(f"/ipns/{peerkey.text(KEY.name)}?format=ipns-record") == (200, record)
        assert put(server, b"nonsense") == 400
        assert put(server, bytes(ipns.LONGEST + 1)) == 413
