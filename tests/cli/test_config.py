"""Configuration: example, check, and who has the last word."""

import json
import re
from pathlib import Path

import pytest

from narbor import config
from narbor.config import BadConfig, Config
from narbor.errors import Refused
from tests.cli.program import Program

HOME = Path("/home/of/nobody")


def flat(values: dict[str, object], prefix: str = "") -> dict[str, object]:
    """Return nested tables as `table.key`."""
    found: dict[str, object] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            found |= flat(value, f"{key}.")
        else:
            found[prefix + key] = value
    return found


def test_the_example_changes_nothing(tmp_path: Path) -> None:
    """As it stands, the example says what holds without it."""
    (tmp_path / "narbor.toml").write_text(config.example())
    assert config.load(tmp_path, None, {}) == Config(home=tmp_path)


def test_the_example_names_every_key(tmp_path: Path) -> None:
    """With every comment mark taken away, each key is set, and each default is the true one."""
    text = re.sub(r"(?m)^# ([a-z-]+ = )", r"\1", config.example())
    file = tmp_path / "narbor.toml"
    file.write_text(text)
    said = flat(config.plain(config.load(None, file, {})))
    usual = flat(config.plain(Config(home=Path("/var/lib/narbor"))))
    paths = {"serve.tls-cert", "serve.tls-key", "mirror.ca-file", "mirror.netrc"}
    paths |= {"ipfs.denied-file", "agent.folder"}
    assert said.keys() == usual.keys()
    assert {key for key in said if said[key] != usual[key]} == paths
    assert said["mirror.netrc"] == str(tmp_path / "netrc")


def test_file_then_environment(tmp_path: Path) -> None:
    """The environment wins over the file, the file over the defaults."""
    (tmp_path / "narbor.toml").write_text(
        'level = 5\nmin-free = "2GiB"\n[serve]\nlisten = "a:1"\nworkers = 3\n'
    )
    words = {"NARBOR_SERVE_LISTEN": "b:2", "NARBOR_KEYS": "x:1 y:2", "NARBOR_MIRROR_LOGS": "true"}
    found = config.load(tmp_path, None, words)
    assert (found.level, found.min_free) == (5, 2 << 30)
    assert (found.serve.listen, found.serve.workers) == ("b:2", 3)
    assert found.keys == ("x:1", "y:2")
    assert found.mirror.logs is True
    assert config.replace(found, level=7, serve_listen="c:3", keys=None).serve.listen == "c:3"


def test_where_the_home_is(tmp_path: Path) -> None:
    """The flag, then NARBOR_HOME, then the file, then the XDG data folder."""
    file = tmp_path / "c.toml"
    file.write_text('home = "there"\n')
    words = {"XDG_DATA_HOME": "/data"}
    assert config.load(None, None, words).home == Path("/data/narbor")
    assert config.load(None, file, words).home == tmp_path / "there"
    assert config.load(None, file, words | {"NARBOR_HOME": "/n"}).home == Path("/n")
    assert config.load(HOME, file, words | {"NARBOR_HOME": "/n"}).home == HOME
    assert config.load(None, None, words | {"NARBOR_CONFIG": str(file)}).home == tmp_path / "there"


@pytest.mark.parametrize(
    ("text", "line", "key"),
    [
        ("lebel = 3\n", 1, "lebel"),
        ("level = 3\n\n[serve]\nlisten = 'x:1'\nport = 3\n", 5, "serve.port"),
        ("[served]\nport = 3\n", 1, "served"),
        ("level = 23\n", 1, "level"),
        ('\nlevel = "3"\n', 2, "level"),
        ("[mirror]\njobs = 0\n", 2, "mirror.jobs"),
        ("keys = ['a:b', 3]\n", 1, "keys"),
        ("store = 'nix/store'\n", 1, "store"),
        ("serve = 3\n", 1, "serve"),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, text: str, line: int, key: str) -> None:
    """The message has the file, the line and the key."""
    file = tmp_path / "narbor.toml"
    file.write_text(text)
    with pytest.raises(BadConfig, match=rf"line {line}: .*{re.escape(key)}") as caught:
        config.load(tmp_path, None, {})
    assert str(file) in str(caught.value)


def test_no_toml_and_no_file(tmp_path: Path) -> None:
    """A file that was named must be there, and must be TOML."""
    with pytest.raises(Refused, match="no such configuration file"):
        config.load(None, tmp_path / "absent.toml", {})
    file = tmp_path / "narbor.toml"
    file.write_text("level = \n")
    with pytest.raises(BadConfig, match=r"line 1"):
        config.load(tmp_path, None, {})
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(BadConfig, match=re.escape(str(file))):
        config.load(tmp_path, None, {})


def test_a_bad_variable_is_named(tmp_path: Path) -> None:
    """What the environment says is held against the same schema."""
    with pytest.raises(BadConfig, match="NARBOR_SERVE_WORKERS"):
        config.load(tmp_path, None, {"NARBOR_SERVE_WORKERS": "many"})


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("500", 500), ("20M", 20_000_000), ("1.5 GB", 1_500_000_000), ("2GiB", 2 << 30)],
)
def test_sizes(text: str, size: int) -> None:
    """Powers of 1000, or of 1024 where an i says so."""
    assert config.size(text) == size


@pytest.mark.parametrize("text", ["", "M", "-1", "1X", "1e9", "1 000", "0x10"])
def test_no_sizes(text: str) -> None:
    """Anything else is refused."""
    with pytest.raises(BadConfig):
        config.size(text)


def test_the_commands(narbor: Program) -> None:
    """`example` can be kept as the file, `check` says what holds, or what is wrong."""
    example = narbor("config", "example")
    assert example.stdout == config.example()
    narbor.home.mkdir()
    (narbor.home / "narbor.toml").write_text(example.stdout)
    assert json.loads(narbor("config", "check", "--json").stdout)["level"] == 3
    (narbor.home / "narbor.toml").write_text("lebel = 4\n")
    done = narbor("config", "check")
    assert done.returncode == 2
    assert "line 1: lebel" in done.stderr


def test_init_makes_a_home_once(narbor: Program) -> None:
    """A second `init` leaves what is there."""
    assert narbor("init").returncode == 0
    file = narbor.home / "narbor.toml"
    assert file.read_text() == config.example()
    file.write_text("level = 4\n")
    assert narbor("init").returncode == 0
    assert file.read_text() == "level = 4\n"
    assert narbor("status").returncode == 0
