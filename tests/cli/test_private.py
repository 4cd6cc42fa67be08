"""Caches that want a password, stand behind a proxy, or have a certificate of their own."""

import base64
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.program import Farm, Program
from tests.fakes import certificate
from tests.fakes.faults import Status
from tests.fakes.upstream import FakeCache

MANY = 4  # nix-cache-info and the farm's three narinfos at least


def fill(cache: FakeCache, farm: Farm, before: str = "") -> None:
    """Put the farm into a cache."""
    for path in farm.folder.rglob("*"):
        if path.is_file():
            cache.files[f"{before}/{path.relative_to(farm.folder)}"] = path.read_bytes()


@pytest.fixture
def cache(farm: Farm) -> Iterator[FakeCache]:
    """The farm over HTTP."""
    with FakeCache() as fake:
        fill(fake, farm)
        yield fake


def mirror(
    narbor: Program, farm: Farm, url: str, *words: str, **more: str
) -> subprocess.CompletedProcess[str]:
    """Mirror the farm's top; the machine's own proxies and files are out of the way."""
    aside = {"no_proxy": "", "http_proxy": "", "https_proxy": "", "all_proxy": ""}
    trust = ("--trust", str(farm.key.public))
    return narbor("mirror", url, farm.path("top"), *trust, *words, **(aside | more))


def sent(cache: FakeCache) -> set[str | None]:
    """Return what was said in `Authorization`, over all requests."""
    assert len(cache.asked) > MANY
    return {asked.headers.get("authorization") for asked in cache.asked}


def basic(text: str) -> str:
    """Return what RFC 7617 sends for USER:PASSWORD."""
    return f"Basic {base64.b64encode(text.encode()).decode()}"


@pytest.mark.parametrize("how", ["flag", "variable", "home", "file"])
def test_passwords_from_netrc(
    narbor: Program, farm: Farm, cache: FakeCache, tmp_path: Path, how: str
) -> None:
    netrc = tmp_path / (".netrc" if how == "home" else "passwords")
    netrc.write_text("machine 127.0.0.1 login me password open\n")
    words = ("--netrc", str(netrc)) if how == "flag" else ()
    more = {"NETRC": str(netrc)} if how == "variable" else {}
    if how == "file":
        narbor.home.mkdir()
        (narbor.home / "narbor.toml").write_text(f"[mirror]\nnetrc = '{netrc}'\n")
    assert mirror(narbor, farm, cache.url, *words, **more).returncode == 0
    assert sent(cache) == {basic("me:open")}


@pytest.mark.parametrize("how", ["flag", "variable", "file"])
def test_bearer_tokens(
    narbor: Program, farm: Farm, cache: FakeCache, tmp_path: Path, how: str
) -> None:
    file = tmp_path / "token"
    file.write_text("sesame\n")
    host = cache.url.removeprefix("http://")
    words = ("--token-file", f"{host}={file}") if how == "flag" else ()
    more = {"NARBOR_MIRROR_TOKENS": f"127.0.0.1=sesame {host}1=no"} if how == "variable" else {}
    if how == "file":
        narbor.home.mkdir()
        (narbor.home / "narbor.toml").write_text(f"[mirror.tokens]\n'{host}' = 'sesame'\n")
    assert mirror(narbor, farm, cache.url, *words, **more).returncode == 0
    assert sent(cache) == {"Bearer sesame"}
    assert "sesame" not in narbor("config", "check", **more).stdout


def test_user_and_password_in_the_url(narbor: Program, farm: Farm, cache: FakeCache) -> None:
    """They go to that host, and stand in no message and no record."""
    cache.fail(f"/{farm.products['base-1.0'].path.hash_part}.narinfo", Status(401), always=True)
    done = mirror(narbor, farm, cache.url.replace("//", "//me:open@"))
    assert done.returncode == 1
    assert sent(cache) == {basic("me:open")}
    record = narbor("failed").stdout
    assert "credentials are needed" in record
    assert "open@" not in done.stderr + record


@pytest.mark.parametrize("word", ["127.0.0.1", "127.0.0.1=", "=x", "127.0.0.1=/nowhere"])
def test_tokens_that_are_none(narbor: Program, farm: Farm, cache: FakeCache, word: str) -> None:
    assert mirror(narbor, farm, cache.url, "--token-file", word).returncode == 2
    assert cache.asked == []


@pytest.mark.parametrize("how", ["flag", "NIX_SSL_CERT_FILE", "SSL_CERT_FILE"])
def test_an_authority_of_ones_own(narbor: Program, farm: Farm, tmp_path: Path, how: str) -> None:
    pem = certificate.make(tmp_path / "both.pem")
    with FakeCache(pem) as cache:
        fill(cache, farm)
        refused = mirror(narbor, farm, cache.url)
        assert refused.returncode == 3
        assert "self-signed" in refused.stderr
        words = ("--ca-file", str(pem)) if how == "flag" else ()
        more = {how: str(pem)} if how != "flag" else {}
        assert mirror(narbor, farm, cache.url, *words, **more).returncode == 0


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "all_proxy"])
def test_a_proxy(narbor: Program, farm: Farm, name: str) -> None:
    with FakeCache() as proxy:
        fill(proxy, farm, "http://cache.invalid")
        aside = {"http_proxy": proxy.url} if name == "HTTP_PROXY" else {}
        done = mirror(narbor, farm, "http://cache.invalid", **(aside | {name: proxy.url}))
        assert done.returncode == 0
        assert all(asked.path.startswith("http://cache.invalid/") for asked in proxy.asked)


def test_no_proxy(narbor: Program, farm: Farm, cache: FakeCache) -> None:
    with FakeCache() as proxy:
        more = {"http_proxy": proxy.url, "no_proxy": "example.org, 127.0.0.1"}
        assert mirror(narbor, farm, cache.url, **more).returncode == 0
        assert proxy.asked == []


def test_a_proxy_that_is_away_is_named(narbor: Program, farm: Farm) -> None:
    """Else who reads it would look for the fault at the cache."""
    done = mirror(narbor, farm, "http://cache.invalid", http_proxy="http://me:open@127.0.0.1:1")
    assert done.returncode == 3
    assert re.search(r"through the proxy http://127\.0\.0\.1:1\b", done.stderr)
    assert "open" not in done.stderr
    other = mirror(narbor, farm, "http://cache.invalid", http_proxy="gopher://127.0.0.1:1")
    assert other.returncode == 2
    assert "gopher" in other.stderr


def test_a_cache_may_say_that_it_is_trusted(narbor: Program, farm: Farm, cache: FakeCache) -> None:
    """Nix's own parameter, for this cache alone: of two, the other still needs a signature."""
    with FakeCache() as empty:
        call = ("mirror", f"{empty.url}?trusted=1", "--also", cache.url, farm.path("top"))
        assert narbor(*call).returncode == 1
        call = ("mirror", empty.url, "--also", f"{cache.url}?trusted=1", farm.path("top"))
        assert narbor(*call).returncode == 0
