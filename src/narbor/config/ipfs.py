"""What others are told by the gateway and the router (table `ipfs`), and what is published and
copied elsewhere again and again (table `publish`, and one `[[replicate]]` each)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final, TypeAlias

from msgspec import Meta, Struct

from narbor.config.channels import Url, Word
from narbor.config.errors import BadConfig
from narbor.errors import Rejected
from narbor.formats import ipns
from narbor.names import cidtext, provider
from narbor.names.cid import Cid, MalformedCid
from narbor.names.provider import Announce, BadAddress

Domain: TypeAlias = Annotated[str, Meta(pattern=r"^[a-z0-9_-]+(\.[a-z0-9_-]+)*$", max_length=253)]
KeyName: TypeAlias = Annotated[str, Meta(pattern=r"^[0-9A-Za-z_][0-9A-Za-z._\-]{0,99}$")]
_SECOND: Final = 1_000_000_000
_TURNS: Final = 4


class Ipfs(Struct, frozen=True, kw_only=True, rename="kebab", forbid_unknown_fields=True):
    """What the gateway and the router say (table `ipfs`).

    `public_url` is where others reach this server: URLs or multiaddrs. `dnslinks` are what domains
    lead to: a content path, or the name of a key of the home. `denied` are CIDs, as are the lines
    of `denied_file`. `kubo` is the RPC address of a Kubo that is told of names.
    """

    public_url: tuple[Word, ...] = ()
    announce: Announce = "roots"
    dnslinks: dict[Domain, Word] = {}
    subdomain_hosts: tuple[Domain, ...] = ()
    denied: tuple[Word, ...] = ()
    denied_file: Path | None = None
    accept_records: bool = False
    kubo: Url | None = None


class Publish(Struct, frozen=True, kw_only=True, rename="kebab", forbid_unknown_fields=True):
    """How the cache is published under names (table `publish`).

    `names` are keys of the home. All times are in seconds: from one turn of `narbor watch` to the
    next (0: it does not publish), for how long a record is good, for how long others may keep it.
    """

    names: tuple[KeyName, ...] = ()
    interval: Annotated[int, Meta(ge=0)] = 3600
    lifetime: Annotated[int, Meta(ge=1)] = ipns.LIFETIME // _SECOND
    ttl: Annotated[int, Meta(ge=1)] = ipns.TTL // _SECOND


class Replicate(Struct, frozen=True, kw_only=True, rename="kebab", forbid_unknown_fields=True):
    """What `narbor watch` copies to another place again and again, as `narbor replicate` does once.

    `what` and `name` are that command's words; `interval` is in seconds.
    """

    target: Word
    what: Word = "cache"
    name: Word | None = None
    interval: Annotated[int, Meta(ge=1)] = 3600

    @property
    def job(self) -> str:
        """What its turns are called."""
        return f"{self.what} to {self.target}"


def denied(ipfs: Ipfs) -> list[Cid]:
    """Return what the gateway does not give; raises BadConfig."""
    words, file = list(ipfs.denied), ipfs.denied_file
    if file is not None:
        try:
            lines = [line.partition("#")[0].strip() for line in file.read_text("utf-8").split("\n")]
        except (OSError, UnicodeDecodeError) as error:
            raise BadConfig(f"ipfs.denied-file: {file} cannot be read: {error}") from error
        words += filter(None, lines)
    try:
        return [cidtext.known(cidtext.parse(word)) for word in words]
    except MalformedCid as error:
        raise BadConfig(f"ipfs.denied-file: {file}: {error}") from error


def complaint(
    ipfs: Ipfs, publish: Publish, replicate: Sequence[Replicate], taken: Sequence[str]
) -> tuple[str, str] | None:
    """Return the place and mistake of what no schema finds; None if all is well.

    `taken` are names that other jobs have.
    """
    for url in ipfs.public_url:
        try:
            provider.public(url)
        except BadAddress as error:
            return "ipfs.public-url", str(error)
    for domain, value in ipfs.dnslinks.items():
        if value.startswith("/") and not value.startswith(("/ipfs/", "/ipns/")):
            return "ipfs.dnslinks", f"{domain}: {value} is no /ipfs/ or /ipns/ path"
    for text in ipfs.denied:
        try:
            cidtext.parse(text)
        except Rejected as error:
            return "ipfs.denied", str(error)
    if publish.ttl > publish.lifetime:
        return "publish.ttl", f"records would be kept for longer than they last ({publish.ttl} s)"
    if publish.interval * _TURNS > publish.lifetime:
        # It is renewed when half of its time is over; a turn or two may fail.
        return "publish.interval", f"no more than a quarter of lifetime ({publish.lifetime} s)"
    if "publish" in taken and publish.names:
        return "publish.names", "a channel or a followed cache is called publish: rename it"
    return _repeated(replicate)


def _repeated(entries: Sequence[Replicate]) -> tuple[str, str] | None:
    seen: set[str] = set()
    for number, each in enumerate(entries):
        if each.job in seen:
            return f"replicate[{number}].target", f"there is another {each.job}"
        seen.add(each.job)
    return None


def links(words: Sequence[str]) -> Mapping[str, str]:
    """Read `DOMAIN=PATH` words, as a variable has them."""
    pairs = (word.partition("=") for word in words)
    return {domain: value for domain, _, value in pairs}
