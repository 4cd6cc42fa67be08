"""The example of a whole farm: `packaging/example` as it lies there, but for addresses.

A Hydra evaluates and a cache of one's own has builds; narbor follows both as the example says, the
real nginx stands in front as the example says, and a real Nix knows nothing but that address.
"""

import json
import re
import shlex
import ssl
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.serialization import PrivateFormat

from tests.cli.program import Farm, Program, grow
from tests.fakes.channel import NAME, Channel
from tests.fakes.hydra_tables import path_of
from tests.peers import registry, servers, suite
from tests.serve.test_life import certificate

ROOT = Path(__file__).parent.parent.parent
EXAMPLE = ROOT / "packaging" / "example"
C = "nixos-25.05-small"
NIX = "nix 2.34"
KEY = re.search(r"builds\.example\.org-1:[^\"]+", (EXAMPLE / "narbor.toml").read_text("utf-8"))


def rendered(file: str, others: dict[str, object]) -> str:
    """Return a file of the example with other addresses; all of them must stand in it."""
    text = (EXAMPLE / file).read_text("utf-8")
    for old, new in others.items():
        assert old in text, f"{file} says {old!r} no more"
        text = text.replace(old, str(new))
    return text


@dataclass(frozen=True, slots=True)
class Deployed:
    """The example, deployed: what it follows, where nginx answers, what `narbor watch` said."""

    channel: Channel
    builds: Farm
    narbor: Program
    url: str
    plain: str
    cert: Path
    said: str

    def client(self) -> httpx.Client:
        """Make a client of nginx."""
        trust = ssl.create_default_context(cafile=str(self.cert))
        return httpx.Client(base_url=self.url, verify=trust, trust_env=False)


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """Deploy, in the order of the example's README."""
    folder = tmp_path_factory.mktemp("example")
    narbor, builds = Program(folder / "home"), grow(folder / "builds")
    (builds.folder / "store-paths").write_text(f"{builds.path('top')}\n")
    port, plain = servers.free_port(), servers.free_port()
    url = f"https://localhost:{port}"
    with Channel() as channel, servers.nginx(builds.folder, folder / "static") as static:
        channel.evaluate(NAME)
        narbor.home.mkdir()
        text = configuration(channel, builds, static.url, url)
        (narbor.home / "narbor.toml").write_text(text, "utf-8")
        for words in ("config check", "init", "key new cache.example.org-1", "watch --once"):
            done = narbor(*words.split(), NARBOR_MIN_FREE="1MB")
            assert done.returncode == 0, done.stderr
        cert, key = certificate(folder, PrivateFormat.PKCS8)
        with servers.Narbor(narbor.home).server() as server:
            addresses = {
                "server 127.0.0.1:8642": f"server 127.0.0.1:{server.port}",
                "listen 80": f"listen 127.0.0.1:{plain}",
                "listen 443": f"listen 127.0.0.1:{port}",
                "server_name cache.example.org": "server_name localhost",
                "/etc/ssl/cache.example.org.pem": cert,
                "/etc/ssl/cache.example.org.key": key,
                "/var/cache/nginx/narbor": folder / "cache",
                "/var/www/html": folder / "acme",
            }
            sites = rendered("nginx.conf", addresses)
            with servers.nginx_with(sites, port, folder / "front"):
                where = (url, f"http://localhost:{plain}", cert)
                yield Deployed(channel, builds, narbor, *where, done.stderr)


def configuration(channel: Channel, builds: Farm, builds_url: str, url: str) -> str:
    """Render narbor.toml for what is there."""
    assert KEY is not None
    return rendered(
        "narbor.toml",
        {
            "https://hydra.nixos.org": channel.hydra.url,
            'jobset = "release-25.05-small"': 'jobset = "release-25.05"',
            "https://cache.nixos.org": channel.cache.url,
            "interval = 1800": f'interval = 1800\nkeys = ["{channel.key.public}"]',
            "https://cache.example.org": url,
            "https://builds.example.org": builds_url,
            KEY[0]: builds.key.public,
            "/usr/bin/narbor": Path(sysconfig.get_path("scripts"), "narbor"),
        },
    )


def nix(deployed: Deployed, state: Path) -> suite.Machine:
    """A machine that trusts the farm's own key, and has no other cache."""
    trusted = state / "trusted"
    trusted.mkdir()
    (trusted / "cert.pem").write_bytes(deployed.cert.read_bytes())
    machine = suite.Machine(suite.need(NIX), state / "machine", {trusted: "/world"})
    machine.configure(
        substituters=deployed.url,
        trusted_public_keys=deployed.narbor("key", "show", "-q").stdout.strip(),
        require_sigs="true",
        ssl_cert_file="/world/cert.pem",
    )
    registry.ran(NIX, machine.nix_version())
    return machine


def test_nix_subscribes_and_installs(deployed: Deployed, tmp_path: Path) -> None:
    machine = nix(deployed, tmp_path)
    machine.run("nix-channel", "--add", f"{deployed.url}/channels/{C}", "nixos")
    machine.run("nix-channel", "--update")
    said = machine.run("nix-instantiate", "--eval", "-E", "(import <nixos> { }).hello")
    hello = str(json.loads(said))
    # A package of the channel, and one of the builds on top.
    machine.run("nix-env", "--install", hello, deployed.builds.path("tool-2.0"))
    assert machine.run("sh", "-c", "~/.nix-profile/bin/hello").strip() == "hello"
    assert machine.run("sh", "-c", "cat ~/.nix-profile/share/text") == "line\n" * 1000
    machine.run("nix", "store", "verify", "--recursive", "--sigs-needed", "1", hello)


def test_the_gateway_is_a_cache_too(deployed: Deployed, tmp_path: Path) -> None:
    machine = nix(deployed, tmp_path)
    root, name = deployed.narbor("publish", "-q").stdout.split()
    top = deployed.builds.path("top")
    machine.run("nix", "copy", "--from", f"{deployed.url}/ipfs/{root}", top)
    machine.run("nix", "store", "verify", "--recursive", "--sigs-needed", "1", top)
    with deployed.client() as client:
        for newest in (name, "cache.example.org"):
            answer = client.get(f"/ipns/{newest}/nix-cache-info")
            assert answer.headers["x-ipfs-roots"].startswith(root)
        found = client.get(f"/routing/v1/providers/{root}").json()["Providers"]
        port = httpx.URL(deployed.url).port
        assert found[0]["Addrs"] == [f"/dns/localhost/tcp/{port}/tls/http"]


def test_a_release_goes_to_the_gateway_when_it_is_made(deployed: Deployed) -> None:
    """What `on-success` printed leads to a directory with all that the release lists."""
    (root,) = re.findall(r"^baf\w+$", deployed.said, re.MULTILINE)
    with deployed.client() as client:
        listed = client.get(f"/releases/{C}/{NAME}/store-paths").text.split()
        assert len(listed) == 2
        for path in (*listed, path_of("glibc-2.40")):
            there = client.get(f"/ipfs/{root}/{Path(path).name[:32]}.narinfo")
            assert f"StorePath: {path}\n" in there.text


def test_nginx_shows_what_it_should(deployed: Deployed) -> None:
    with deployed.client() as client:
        narinfo = f"/{Path(deployed.builds.path('top')).name[:32]}.narinfo"
        client.get(narinfo)
        kept = client.get(narinfo)
        assert kept.headers["x-cache"] == "HIT"
        assert "\nSig: cache.example.org-1:" in kept.text
        assert C in client.get("/channels").text
        release = f"/releases/{C}/{NAME}"
        target = client.get(f"/channels/{C}/git-revision").headers["location"]
        assert httpx.URL(deployed.url).join(target) == f"{deployed.url}{release}/git-revision"
        part = client.get(f"{release}/nixexprs.tar.xz", headers={"range": "bytes=0-9"})
        assert (part.status_code, part.content[:6]) == (206, b"\xfd7zXZ\0")
        link = client.head(f"/channels/{C}/nixexprs.tar.xz").headers["link"]
        assert link.startswith(f"<{deployed.url}{release}/nixexprs.tar.xz?")
        for path in ("/metrics", "/readyz", "/healthz"):
            assert client.get(path).status_code == 403
        moved = client.get(f"{deployed.plain}/channels")
        assert (moved.status_code, moved.headers["location"]) == (301, "https://localhost/channels")


def test_it_fits_the_units_and_the_guides() -> None:
    unit = (EXAMPLE.parent / "narbor-serve.service").read_text("utf-8")
    (address,) = re.findall(r"^ExecStart=.* --listen (\S+)$", unit, re.MULTILINE)
    front = (EXAMPLE / "nginx.conf").read_text("utf-8")
    assert f"server {address};" in front
    guide = (ROOT / "docs" / "guide" / "serve.md").read_text("utf-8")
    (block,) = re.findall(r"```nginx\n.*?(proxy_cache_path.*?)```", guide, re.DOTALL)
    assert not [line for line in block.splitlines() if line not in front.splitlines()]


def test_the_example_is_right(tmp_path: Path) -> None:
    done = Program(tmp_path)("--config", str(EXAMPLE / "narbor.toml"), "config", "check")
    assert done.returncode == 0, done.stderr


def test_the_readme_names_files_that_are_there() -> None:
    (block, *_) = re.findall(r"```\n(.*?)```", (EXAMPLE / "README.md").read_text(), re.DOTALL)
    assert len(block.splitlines()) == 10
    for line in block.splitlines():
        for word in shlex.split(line):
            if word.startswith(("packaging/", "requirements/")):
                assert list(ROOT.glob(word)), word
