"""Narinfos: there and back, and read as Nix reads them or not at all."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narbor.formats import narinfo
from narbor.formats.narinfo import MalformedNarinfo, Narinfo
from narbor.names.digest import Digest
from narbor.names.item import Item
from narbor.names.keys import SecretKey
from tests import strategies

VECTORS = Path(__file__).parent.parent / "vectors"
REAL = sorted(VECTORS.rglob("*.narinfo"))

HELLO = (VECTORS / "narinfo" / "hello-2.10.narinfo").read_bytes()
BASE = "w9yy7v61ipb5rx6i35zq1mvc2iqfmps1-hello-2.10"
SIGNATURE = next(line for line in HELLO.splitlines(True) if line.startswith(b"Sig"))


def with_line(name: str, line: str | None) -> bytes:
    """Return the narinfo of hello with the line of one field changed, or taken out."""
    lines = [each for each in HELLO.decode().splitlines() if not each.startswith(f"{name}:")]
    return "".join(f"{each}\n" for each in [*lines, *([] if line is None else [line])]).encode()


@pytest.mark.parametrize("file", REAL, ids=lambda file: file.stem[:12])
def test_what_nix_wrote_is_written_again(file: Path) -> None:
    text = file.read_bytes()
    claim = narinfo.parse(text)
    assert narinfo.write(claim) == text == claim.text


def test_the_fields_of_a_real_one() -> None:
    claim = narinfo.parse((VECTORS / "narinfo" / "curl-7.82.0-bin.narinfo").read_bytes())
    assert str(claim.path) == "/nix/store/syd87l2rxw8cbsxmxl853h0r6pdwhwjr-curl-7.82.0-bin"
    assert claim.url == "nar/05ra3y72i3qjri7xskf9qj8kb29r6naqy1sqpbs3azi3xcigmj56.nar.xz"
    assert (claim.compression, claim.file_size, claim.seal.size) == ("xz", 68852, 196040)
    assert str(claim.file_hash).endswith(":05ra3y72i3qjri7xskf9qj8kb29r6naqy1sqpbs3azi3xcigmj56")
    assert str(claim.seal.digest) == "sha256:1b4sb93wp679q4zx9k1ignby1yna3z7c4c2ri3wphylbc2dwsys0"
    assert [base.partition("-")[2] for base in claim.references] == [
        "curl-7.82.0",
        "glibc-2.34-115",
        "zlib-1.2.12",
        "openssl-1.1.1n",
    ]
    assert claim.deriver == "5rwxzi7pal3qhpsyfc16gzkh939q1np6-curl-7.82.0.drv"
    assert len(claim.signatures) == 1
    assert (claim.ca, claim.extra) == (None, ())


def test_the_signed_text() -> None:
    """Nix's own signatures say what the fingerprint is: ed25519 signs alike each time."""
    key = SecretKey.parse((VECTORS / "cache" / "secret-key").read_text())
    for file in (VECTORS / "cache").glob("*.narinfo"):
        claim = narinfo.parse(file.read_bytes())
        text = narinfo.fingerprint(claim.path, claim.seal, claim.references)
        assert (key.sign(text),) == claim.signatures


@given(strategies.narinfos())
def test_there_and_back(claim: Narinfo) -> None:
    again = narinfo.parse(claim.text)
    assert again == claim
    assert narinfo.write(again) == claim.text == again.text


@given(strategies.narinfos())
def test_any_order_is_read(claim: Narinfo) -> None:
    """Only fields that come more than once have an order among themselves."""
    lines = claim.text.decode().split("\n")[:-1]
    backwards = replace(claim, signatures=claim.signatures[::-1], extra=claim.extra[::-1], text=b"")
    assert narinfo.parse("".join(f"{line}\n" for line in lines[::-1]).encode()) == backwards


@given(strategies.items(), strategies.digests(("sha256",)), st.lists(strategies.signatures()))
def test_of_an_item(item: Item, file_hash: Digest, signatures: list[str]) -> None:
    text = narinfo.of_item(item, "nar/x.nar.zst", "zstd", file_hash, 7, signatures)
    claim = narinfo.parse(text)
    assert narinfo.write(claim) == text
    assert (claim.url, claim.compression) == ("nar/x.nar.zst", "zstd")
    assert (claim.file_hash, claim.file_size) == (file_hash, 7)
    assert claim.signatures == tuple(signatures)
    assert (claim.path, claim.seal, claim.ca) == (item.path, item.seal, item.ca)
    assert (claim.references, claim.deriver) == (item.references, item.deriver)
    assert claim.extra == item.extra
    assert narinfo.fingerprint(claim.path, claim.seal, claim.references) == narinfo.fingerprint(
        item.path, item.seal, item.references
    )


@given(strategies.narinfos())
def test_the_fingerprint_knows_no_order(claim: Narinfo) -> None:
    text = narinfo.fingerprint(claim.path, claim.seal, claim.references)
    again = narinfo.fingerprint(claim.path, claim.seal, claim.references[::-1] * 2)
    assert text == again
    assert text.split(";")[:2] == ["1", str(claim.path)]
    assert text.count(claim.path.store + "/") >= 1 + len(claim.references)


@given(strategies.narinfos())
def test_the_fingerprint_changes_with_all_it_covers(claim: Narinfo) -> None:
    seal = claim.seal
    other = Digest("sha256", bytes(31) + b"\x01")
    texts = {
        narinfo.fingerprint(claim.path, seal, claim.references),
        narinfo.fingerprint(replace(claim.path, store="/b"), seal, claim.references),
        narinfo.fingerprint(claim.path, replace(seal, size=seal.size + 1), claim.references),
        narinfo.fingerprint(claim.path, replace(seal, digest=other), claim.references),
        narinfo.fingerprint(claim.path, seal, (*claim.references, f"{'z' * 32}-more")),
    }
    assert len(texts) == 5 - (seal.digest == other)


# Each: the field to replace, the line that stands for it, and the attribute that is read then.
READ = [
    ("Compression", None, "compression", "bzip2"),
    ("Compression", "Compression: ", "compression", "bzip2"),
    ("FileHash", None, "file_hash", None),
    ("FileHash", f"FileHash: md5:{'0' * 32}", "file_hash", Digest("md5", bytes(16))),
    ("FileSize", None, "file_size", None),
    ("FileSize", "FileSize: 0", "file_size", None),
    ("FileSize", "FileSize: 007", "file_size", 7),
    ("FileSize", f"FileSize: {2**64 - 1}", "file_size", 2**64 - 1),
    ("References", None, "references", ()),
    ("References", "References: ", "references", ()),
    ("References", f"References:   {BASE}  {BASE} ", "references", (BASE,)),
    ("Deriver", "Deriver: unknown-deriver", "deriver", None),
    ("Deriver", f"Deriver: {BASE}.drv", "deriver", f"{BASE}.drv"),
    ("CA", "CA: ", "ca", None),
    ("CA", f"CA: fixed:md5:{'0' * 32}", "ca", f"fixed:md5:{'0' * 26}"),
    ("URL", "URL: https://other/x?y=z:1", "url", "https://other/x?y=z:1"),
    ("URL", "URL:xnar", "url", "nar"),
    ("System", "System: x86_64-linux", "extra", (("System", "x86_64-linux"),)),
    ("X", "X: 1\nX: \nX:  2: 3", "extra", (("X", "1"), ("X", ""), ("X", " 2: 3"))),
    ("Sig", None, "signatures", ()),
    ("Sig", "Sig: b:QUJD\nSig: a:QUI", "signatures", ("b:QUJD", "a:QUI")),
]


@pytest.mark.parametrize(("name", "line", "attribute", "value"), READ)
def test_generous_where_nix_is(name: str, line: str | None, attribute: str, value: object) -> None:
    assert getattr(narinfo.parse(with_line(name, line)), attribute) == value


@pytest.mark.parametrize(
    "spelling",
    [
        "sha256:b0e9bda71193a74c0fc7beaae34e7f4c34a3ac2ffee50e2d07ddbf7c19ca5c1b",
        "sha256:sOm9pxGTp0wPx76q405/TDSjrC/+5Q4tB92/fBnKXBs=",
        "sha256-sOm9pxGTp0wPx76q405/TDSjrC/+5Q4tB92/fBnKXBs=",
    ],
)
def test_narhash_in_any_spelling_is_written_in_one(spelling: str) -> None:
    claim = narinfo.parse(with_line("NarHash", f"NarHash: {spelling}"))
    assert claim.seal.digest.hex.startswith("b0e9bda7")
    assert f"NarHash: {claim.seal.digest}\n".encode() in narinfo.write(claim)
    assert str(claim.seal.digest).startswith("sha256:")


REFUSED = [
    ("StorePath", None, "StorePath"),
    ("StorePath", f"StorePath: {BASE}", "StorePath"),
    ("StorePath", f"StorePath: /nix/store/{BASE}/bin", "StorePath"),
    ("URL", None, "URL"),
    ("URL", "URL: ", "URL"),
    ("URL", "URL:\u00a0nar", "UTF-8"),
    ("Compression", "Compression: rar", "'rar' is not known"),
    ("Compression", "Compression:  xz", "' xz' is not known"),
    ("FileHash", "FileHash: ", "FileHash"),
    ("FileHash", "FileHash: sha256:0", "FileHash"),
    ("FileSize", "FileSize: ", "FileSize"),
    ("FileSize", "FileSize: -1", "FileSize"),
    ("FileSize", "FileSize: 1.5", "FileSize"),
    ("FileSize", "FileSize: \u0661", "FileSize"),
    ("NarHash", None, "NarHash"),
    ("NarHash", "NarHash: ", "NarHash"),
    ("NarHash", f"NarHash: {'0' * 64}", "NarHash"),
    ("NarHash", f"NarHash: md5:{'0' * 32}", "not sha256"),
    ("NarSize", None, "NarSize"),
    ("NarSize", "NarSize: 0", "NarSize is 0"),
    ("NarSize", "NarSize: +1", "NarSize"),
    ("NarSize", f"NarSize: {2**64}", "NarSize"),
    ("NarSize", f"NarSize: {'9' * 5000}", "NarSize"),
    ("References", f"References: /nix/store/{BASE}", "References"),
    ("References", f"References: {BASE},{BASE}", "References"),
    ("References", "References:", "lacks the blank"),
    ("Deriver", "Deriver: ", "Deriver"),
    ("Deriver", f"Deriver: /nix/store/{BASE}.drv", "Deriver"),
    ("Sig", "Sig: ", "Sig"),
    ("Sig", "Sig: nocolon", "Sig"),
    ("Sig", "Sig: a:b!", "Sig"),
    ("Sig", f"{SIGNATURE.decode()}Sig: a:!", "Sig"),
    ("CA", "CA: nothing", "CA"),
    ("CA", f"CA: text:md5:{'0' * 32}", "CA"),
    ("X", "no colon", "is no field"),
    ("X", ": no name", "is no field"),
    ("X", "X:", "lacks the blank"),
    ("X", "", "is no field"),
    ("X", "X: a\0b", "control character"),
    ("X", "X: a\x7fb", "control character"),
]


@pytest.mark.parametrize(("name", "line", "message"), REFUSED)
def test_refused(name: str, line: str | None, message: str) -> None:
    with pytest.raises(MalformedNarinfo, match=message):
        narinfo.parse(with_line(name, line))


@pytest.mark.parametrize(
    "name",
    ["StorePath", "URL", "Compression", "FileHash", "FileSize", "NarHash", "NarSize", "References"],
)
def test_a_field_given_twice(name: str) -> None:
    line = next(line for line in HELLO.splitlines(True) if line.startswith(f"{name}:".encode()))
    with pytest.raises(MalformedNarinfo, match=f"{name} twice"):
        narinfo.parse(HELLO + line)


def test_two_content_addresses() -> None:
    line = f"CA: fixed:md5:{'0' * 32}\n".encode()
    narinfo.parse(HELLO + line)
    with pytest.raises(MalformedNarinfo, match="CA twice"):
        narinfo.parse(HELLO + line + line)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\n",
        HELLO[:-1],
        HELLO + b"\n",
        b"\n" + HELLO,
        HELLO.replace(b"\n", b"\r\n"),
        HELLO.replace(b"\n", b"\n\n", 1),
        HELLO + b"X: \xff\n",
        b"<!doctype html>\n<p>Please log in: here</p>\n",
    ],
)
def test_texts_that_are_no_narinfo(text: bytes) -> None:
    with pytest.raises(MalformedNarinfo):
        narinfo.parse(text)


def test_a_narinfo_has_a_limit() -> None:
    assert narinfo.parse(HELLO, len(HELLO)).text == HELLO
    with pytest.raises(MalformedNarinfo, match="more than"):
        narinfo.parse(HELLO, len(HELLO) - 1)
    with pytest.raises(MalformedNarinfo, match=f"more than {1 << 20}"):
        narinfo.parse(HELLO + b"X: " + bytes(1 << 20))


def positions(text: bytes) -> list[tuple[bytes, bytes]]:
    """Find names and values as Nix does, by position alone; raises ValueError where Nix fails."""
    fields, at = [], 0
    while at < len(text):
        colon = text.index(b":", at)
        end = text.index(b"\n", colon + 2)
        fields.append((text[at:colon], text[colon + 2 : end]))
        at = end + 1
    return fields


@given(
    strategies.narinfos(),
    st.integers(0, 2000),
    st.integers(0, 3),
    st.sampled_from([b"", b"\n", b":", b" ", b"\r", b"\xc3", b": ", b"X", b"\nSig: a:QUJD\n"]),
)
def test_what_is_accepted_is_read_as_nix_reads_it(
    claim: Narinfo, at: int, length: int, put: bytes
) -> None:
    at %= len(claim.text)
    text = claim.text[:at] + put + claim.text[at + length :]
    try:
        read = narinfo.parse(text)
    except MalformedNarinfo:
        return
    fields = positions(text)
    assert read.url.encode() == dict(fields)[b"URL"]
    assert [each.encode() for each in read.signatures] == [v for n, v in fields if n == b"Sig"]
    assert [(n.encode(), v.encode()) for n, v in read.extra] == [
        (n, v) for n, v in fields if n.decode() not in narinfo.FIELDS
    ]
    assert str(read.path).encode() == dict(fields)[b"StorePath"]
    assert read.seal.size == int(dict(fields)[b"NarSize"])


@given(st.binary(max_size=200))
def test_junk_raises_our_error_only(data: bytes) -> None:
    with pytest.raises(MalformedNarinfo):
        narinfo.parse(data)
