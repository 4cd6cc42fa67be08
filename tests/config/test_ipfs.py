"""The tables of the gateway, of publishing and of copying elsewhere."""

import re
from pathlib import Path

import pytest
from msgspec import structs

from narbor import config
from narbor.config import BadConfig, Ipfs, Publish, Replicate
from tests.config.test_channels import LEAST, loaded

NOTHING = "bafkqaaa"
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
