"""The configurations in docs/guide/serve.md, as they stand there, under the real nginx and Caddy.

Only addresses, paths and names are replaced.
"""

import os
import re
import shlex
import shutil
import ssl
import subprocess
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.serialization import PrivateFormat

from narbor.cli.main import parser
from narbor.formats import narinfo
from tests.cli.program import Farm, Program
from tests.cli.program import fill as filled
from tests.cli.program import grow as farm_of
from tests.peers import registry
from tests.peers.servers import Server, free_port
from tests.serve.running import PATIENCE, eventually
from tests.serve.test_life import certificate, listens

GUIDE = Path(__file__).parent.parent.parent / "docs" / "guide" / "serve.md"
SOCKET = "/run/narbor/serve.sock"


def block(language: str) -> str:
    """Return what the guide says in a language."""
    (found,) = re.findall(rf"```{language}\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)
    return str(found)


def replaced(text: str, **others: object) -> str:
    """Replace what must be another here; all of it must stand in the text."""
    for old, new in others.items():
        assert old in text, f"the guide says {old!r} no more"
        text = text.replace(old, str(new))
    return text


@dataclass(frozen=True, slots=True)
class Behind:
    """A narbor on a socket in the file system, and what it has."""

    socket: Path
    farm: Farm


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Behind]:
    """Serve a small farm as the guide's unit does."""
    folder = tmp_path_factory.mktemp("behind")
    made, home, place = farm_of(folder / "farm"), folder / "home", folder / "serve.sock"
    filled(home, made)
    (line,) = re.findall(r"^ExecStart=(.*)$", block("ini"), re.MULTILINE)
    program, *words = shlex.split(
        replaced(line, **{"/opt/narbor/bin": sysconfig.get_path("scripts"),
                          "/var/lib/narbor": home, SOCKET: place})
    )  # fmt: skip
    assert Path(program).name == "narbor"
    with subprocess.Popen(
        [program, *words], env=Program(home).environment(), stderr=subprocess.DEVNULL
    ) as process:
        try:
            eventually(lambda: listens(place))
            # Others than its own user may ask.
            assert place.stat().st_mode & 0o777 == 0o666
            yield Behind(place, made)
        finally:
            process.terminate()
            process.wait(PATIENCE)


def need(name: str, *version: str) -> str:
    """Return the program of a peer, or skip."""
    program = shutil.which(name)
    if program is None:
        reason = registry.not_installed().get(name, "it is not on the PATH")
        registry.missing(name, reason)
        pytest.skip(f"{name}: {reason}")
    done = subprocess.run((program, *version), capture_output=True, text=True, check=True)
    said = re.search(r"\d+(\.\d+)+", done.stdout + done.stderr)
    registry.ran(name, said[0] if said else "?")
    return program


@contextmanager
def nginx(behind: Behind, state: Path) -> Iterator[httpx.Client]:
    """Run nginx with the guide's file in its conf.d."""
    program, port = need("nginx", "-v"), free_port()
    cert, key = certificate(state, PrivateFormat.PKCS8)
    said = replaced(
        block("nginx"),
        **{
            SOCKET: behind.socket,
            "listen 443": f"listen 127.0.0.1:{port}",
            "server_name cache.example.org": "server_name localhost",
            "/etc/ssl/cache.example.org.pem": cert,
            "/etc/ssl/cache.example.org.key": key,
            "/var/cache/nginx/narbor": state / "cache",
        },
    )
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    places = "".join(f"{kind}_temp_path {state}/{kind};\n" for kind in kinds)
    user = "user root;\n" if os.geteuid() == 0 else ""
    (state / "nginx.conf").write_text(
        f"{user}daemon off;\npid {state}/pid;\nevents {{}}\n"
        f"http {{\n{places}access_log off;\n{said}}}\n"
    )
    argv = (program, "-e", "stderr", "-p", str(state), "-c", str(state / "nginx.conf"))
    trust = ssl.create_default_context(cafile=str(cert))
    with (
        Server(argv, port, state / "log"),
        httpx.Client(
            base_url=f"https://localhost:{port}", http2=True, verify=trust, trust_env=False
        ) as client,
    ):
        yield client


@contextmanager
def caddy(behind: Behind, state: Path) -> Iterator[httpx.Client]:
    """Run Caddy with the guide's file, over plain HTTP: else it asks for a certificate."""
    program, port = need("caddy", "version"), free_port()
    address = f"http://127.0.0.1:{port}"
    said = replaced(block("caddyfile"), **{"cache.example.org": address, SOCKET: behind.socket})
    (state / "Caddyfile").write_text("{\n\tadmin off\n}\n" + said)
    argv = (program, "run", "--config", str(state / "Caddyfile"), "--adapter", "caddyfile")
    homes = ("env", f"HOME={state}", f"XDG_DATA_HOME={state}", f"XDG_CONFIG_HOME={state}")
    with (
        Server((*homes, *argv), port, state / "log"),
        httpx.Client(base_url=address, trust_env=False) as client,
    ):
        yield client


FRONTS = {"nginx": nginx, "caddy": caddy}


@pytest.fixture(params=list(FRONTS))
def front(request: pytest.FixtureRequest, behind: Behind, tmp_path: Path) -> Iterator[httpx.Client]:
    """A client of a server in front."""
    with FRONTS[request.param](behind, tmp_path) as client:
        yield client


def test_a_front_changes_nothing_that_clients_need(front: httpx.Client, behind: Behind) -> None:
    assert front.get("/nix-cache-info").text.startswith("StoreDir: /nix/store\n")
    for product in behind.farm.products.values():
        answer = front.get(f"/{product.path.hash_part}.narinfo")
        said = narinfo.parse(answer.content)
        assert answer.headers["cache-control"] == "public, max-age=300"
        for url in (said.url, f"nar/{product.seal.digest.nix32}.nar"):
            whole = front.get(f"/{url}")
            assert whole.headers["content-length"] == str(len(whole.content))
            assert "immutable" in whole.headers["cache-control"]
            part = front.get(f"/{url}", headers={"range": "bytes=7-"})
            assert (part.status_code, part.content) == (206, whole.content[7:])
            assert part.headers["etag"] == whole.headers["etag"]
            head = front.head(f"/{url}")
            assert head.headers["content-length"] == whole.headers["content-length"]
            known = front.get(f"/{url}", headers={"if-none-match": whole.headers["etag"]})
            assert known.status_code == 304
        assert sha256(whole.content).digest() == product.seal.digest.value
        plain = narinfo.parse(front.get(f"/plain/{product.path.hash_part}.narinfo").content)
        assert front.get(f"/plain/{plain.url}").content == whole.content


def test_a_front_hides_what_is_for_us_and_misses_are_404(front: httpx.Client) -> None:
    for path in ("/metrics", "/readyz", "/healthz"):
        assert front.get(path).status_code == 403
    assert front.get(f"/{'0' * 32}.narinfo").status_code == 404
    assert front.get(f"/nar/{'0' * 52}.nar").status_code == 404


def test_nginx_keeps_narinfos_and_misses_and_no_nars(behind: Behind, tmp_path: Path) -> None:
    product = behind.farm.products["top"]
    with nginx(behind, tmp_path) as client:
        for path in (f"/{product.path.hash_part}.narinfo", f"/{'0' * 32}.narinfo"):
            seen = [client.get(path) for _ in range(2)]
            assert [answer.headers["x-cache"] for answer in seen] == ["MISS", "HIT"]
            assert seen[0].content == seen[1].content
            assert client.get(path).http_version == "HTTP/2"
        nar = client.get(f"/nar/{product.seal.digest.nix32}.nar")
        assert "x-cache" not in nar.headers
        kept = b"".join(
            path.read_bytes() for path in (tmp_path / "cache").rglob("*") if path.is_file()
        )
        assert str(product.path).encode() in kept
        assert nar.content not in kept


@pytest.mark.parametrize("guide", sorted(GUIDE.parent.glob("*.md")), ids=lambda path: path.name)
def test_every_command_in_the_guides_can_be_said(guide: Path) -> None:
    text = guide.read_text("utf-8").replace("\\\n", " ")
    found = re.findall(r"(?m)^(?:ExecStart=)?(?:\S*/)?narbor (.+)$", text)
    assert found
    for line in found:
        parser().parse_args(shlex.split(line))
