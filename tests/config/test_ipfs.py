"""The tables of the gateway, of publishing and of copying elsewhere."""

import re
from contextlib import closing
from pathlib import Path

import pytest
from msgspec import structs

from narbor import config, wiring
from narbor.config import BadConfig, Config, Ipfs, Publish, Replicate
from narbor.config.ipfs import denied
from narbor.doors.ipfs.hosts import HostsDoor
from narbor.doors.ipfs.routing import RoutingDoor
from narbor.doors.ipfs.withheld import Denied
from narbor.names import cid, cidtext, peerkey
from narbor.names.peerkey import PeerKey
from narbor.wiring import serving
from tests.config.test_channels import LEAST, loaded

NOTHING = "bafkqaaa"
OTHER = cid.text(cid.raw(b"other"))
ALL = f"""
[ipfs]
public-url = ["https://cache.example", "/ip4/192.0.2.1/tcp/443/tls/http"]
announce = "entities"
dnslinks = {{ "cache.example" = "farm", "old.example" = "/ipfs/{NOTHING}" }}
subdomain-hosts = ["cache.example"]
denied = ["{NOTHING}"]
denied-file = "denied.txt"
kubo = "http://127.0.0.1:5001"
[publish]
names = ["farm"]
interval = 600
[[replicate]]
target = "kubo:http://127.0.0.1:5001"
"""


def test_all_of_it(tmp_path: Path) -> None:
    found = loaded(tmp_path, ALL)
    assert found.ipfs.denied_file == tmp_path / "denied.txt"
    assert found.ipfs.dnslinks["cache.example"] == "farm"
    assert found.publish == Publish(names=("farm",), interval=600)
    (copy,) = found.replicate
    assert (copy.what, copy.name, copy.job) == (
        "cache",
        None,
        "cache to kubo:http://127.0.0.1:5001",
    )


def test_the_example_names_every_key_of_a_copy() -> None:
    block = config.example().partition("#   [[replicate]]\n")[2]
    for field in structs.fields(Replicate):
        assert re.search(rf"(?m)^#   {field.encode_name} = ", block), field.encode_name
    assert "#   kubo = " in config.example()


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ('[ipfs]\npublic-url = ["https://a.example/b"]\n', 2, "ipfs.public-url: https://a.example"),
        ('[ipfs]\npublic-url = ["/dns/a.example/udp/1"]\n', 2, "ipfs.public-url: /dns/a.example"),
        ('[ipfs]\ndnslinks = { "a.example" = "/ipfz/x" }\n', 2, "ipfs.dnslinks"),
        ('[ipfs]\ndnslinks = { "A.example/" = "x" }\n', 2, "ipfs.dnslinks"),
        ('[ipfs]\ndenied = ["nonsense"]\n', 2, "ipfs.denied"),
        ('[ipfs]\nannounce = "some"\n', 2, "ipfs.announce"),
        ('[ipfs]\nkubo = "127.0.0.1:5001"\n', 2, "ipfs.kubo"),
        ("[publish]\nlifetime = 3600\nttl = 7200\ninterval = 0\n", 3, "publish.ttl"),
        ("[publish]\ninterval = 50000\n", 2, "publish.interval: no more than a quarter"),
        ('[publish]\nnames = ["../a"]\n', 2, "publish.names"),
        (LEAST.replace('"a"', '"publish"') + '[publish]\nnames = ["a"]\n', 6, "publish.names"),
        (
            '[[replicate]]\ntarget = "x"\n' * 2,
            4,
            "replicate[1].target: there is another cache to x",
        ),
        ('[[replicate]]\nwhat = "x"\n', 1, "replicate[0]: .*`target`"),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, text: str, line: int, words: str) -> None:
    pattern = re.escape(words).replace(r"\.\*", ".*")
    with pytest.raises(BadConfig, match=rf"narbor\.toml, line {line}: .*{pattern}"):
        loaded(tmp_path, text)


def test_variables_say_lists_in_words(tmp_path: Path) -> None:
    words = {
        "NARBOR_IPFS_PUBLIC_URL": "https://a.example http://192.0.2.1:80",
        "NARBOR_IPFS_DNSLINKS": f"a.example=farm b.example=/ipfs/{NOTHING}",
        "NARBOR_PUBLISH_NAMES": "one two",
        "NARBOR_PUBLISH_INTERVAL": "60",
    }
    found = config.load(tmp_path, None, words)
    assert found.ipfs == Ipfs(
        public_url=("https://a.example", "http://192.0.2.1:80"),
        dnslinks={"a.example": "farm", "b.example": f"/ipfs/{NOTHING}"},
    )
    assert found.publish == Publish(names=("one", "two"), interval=60)


@pytest.mark.parametrize(
    ("text", "publishes"),
    [
        ("", False),
        ('[publish]\nnames = ["a"]\n', True),
        ('[publish]\nnames = ["a"]\ninterval = 0\n', False),
        ('[[replicate]]\ntarget = "x"\n', True),
        ('[[replicate]]\ntarget = "x"\nwhat = "c/r"\n', False),
    ],
)
def test_who_wants_the_cache_published(tmp_path: Path, text: str, publishes: bool) -> None:
    found = loaded(tmp_path, text)
    assert config.publishes(found) == publishes


def test_what_is_denied_stands_in_the_file_and_in_another(tmp_path: Path) -> None:
    text = f'[ipfs]\ndenied = ["{NOTHING}"]\ndenied-file = "denied.txt"\n'
    said = loaded(tmp_path, text).ipfs
    with pytest.raises(BadConfig, match=r"denied\.txt cannot be read"):
        denied(said)
    (tmp_path / "denied.txt").write_text(f"# why\n\n{OTHER}  # and this\n")
    assert [cid.text(each) for each in denied(said)] == [NOTHING, OTHER]
    (tmp_path / "denied.txt").write_text("nonsense\n")
    with pytest.raises(BadConfig, match=r"denied\.txt: .*nonsense"):
        denied(said)


def test_the_doors_are_told(tmp_path: Path) -> None:
    wiring.open_library(Config(home=tmp_path), write=True).close()
    (tmp_path / "denied.txt").write_text(OTHER + "\n")
    found = structs.replace(loaded(tmp_path, ALL), home=tmp_path)
    with closing(wiring.open_library(found)) as library:
        doors = serving.doors(found, library)
    by_host = next(door for door in doors if isinstance(door, HostsDoor))
    router = next(door for door in doors if isinstance(door, RoutingDoor))
    assert doors[0] is by_host
    # Our own host is ours, whatever its DNSLink says.
    assert by_host.hosts.domains == {"old.example"}
    assert by_host.hosts.parents == {"cache.example"}
    assert router.addresses == (
        "/dns/cache.example/tcp/443/tls/http",
        "/ip4/192.0.2.1/tcp/443/tls/http",
    )
    assert router.announce == "entities"
    links = by_host.gateway.dnslinks
    assert links["old.example"] == f"/ipfs/{NOTHING}" and links.get("cache.example") is None
    key = PeerKey.generate()
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "farm.pem").write_text(str(key))
    assert links["cache.example"] == f"/ipns/{peerkey.text(key.name)}"
    with pytest.raises(Denied):
        router.blocks.block(cidtext.known(cidtext.parse(OTHER)))
