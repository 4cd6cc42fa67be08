"""Channels that are followed: one `[[channel]]` of the configuration each."""

from collections.abc import Sequence
from typing import Annotated, Final, TypeAlias

from msgspec import Meta, Struct

_URL: Final = r"^https?://[^\s/]+[^\s]*$"
_NAME: Final = r"^[0-9A-Za-z][0-9A-Za-z+._\-]{0,99}$"

Url: TypeAlias = Annotated[str, Meta(pattern=_URL)]
Word: TypeAlias = Annotated[str, Meta(pattern=r"^\S+$")]
Key: TypeAlias = Annotated[str, Meta(pattern=r"^[^:\s]+:[A-Za-z0-9+/]+=*$")]
Missing: TypeAlias = (
    Annotated[int, Meta(ge=0)] | Annotated[str, Meta(pattern=r"^[0-9]{1,3}(\.[0-9]{1,6})?%$")]
)


class Product(Struct, frozen=True, kw_only=True, rename="kebab", forbid_unknown_fields=True):
    """A file that a release should have: a product of a job, by number, type or subtype.

    `file` is the name it gets, its own if none is said. Without a `required` one there is no
    release.
    """

    job: Word
    file: Annotated[str, Meta(pattern=r"^(?!\.)[^/\x00-\x1f]{1,200}$")] | None = None
    number: Annotated[int, Meta(ge=1)] | None = None
    type: str | None = None
    subtype: str | None = None
    required: bool = False


class Channel(Struct, frozen=True, kw_only=True, rename="kebab", forbid_unknown_fields=True):
    """A channel: what it follows, what its releases consist of, how long they are kept.

    That is a jobset of a Hydra, or a channel of another server (`channel_url`, of which `files` are
    taken).
    `products` and `prefix` are those of a channel of such a name upstream, unless they are said.
    `missing` is how much of what a release lists may be missing here: a number of paths, or a
    share (`1%`). `on_success` and `on_failure` are programs with their arguments.
    """

    name: Annotated[str, Meta(pattern=_NAME)]
    channel_url: Url | None = None
    files: tuple[Word, ...] = ("*",)
    project: Word | None = None
    jobset: Word | None = None
    hydra: Url = "https://hydra.nixos.org"
    job: Word | None = None
    input: Word = "nixpkgs"
    prefix: str | None = None
    every: bool = False
    builds: bool = True
    systems: tuple[Word, ...] = ()
    names: tuple[Word, ...] = ()
    without: tuple[Word, ...] = ()
    products: tuple[Product, ...] | None = None
    caches: Annotated[tuple[str, ...], Meta(min_length=1)] = ("https://cache.nixos.org",)
    keys: tuple[Key, ...] = ()
    trusted: bool = False
    public_url: Url | None = None
    missing: Missing = "1%"
    keep: Annotated[int, Meta(ge=1)] | None = None
    keep_days: Annotated[int, Meta(ge=0)] | None = None
    pinned: tuple[str, ...] = ()
    tarballs: bool = False
    repo: str | None = None
    logs: bool = False
    interval: Annotated[int, Meta(ge=1)] = 3600
    on_success: tuple[str, ...] = ()
    on_failure: tuple[str, ...] = ()

    @property
    def target(self) -> str:
        """The cache that a release names in `binary-cache-url`."""
        return self.public_url or self.caches[0]

    def allowed(self, paths: int) -> int:
        """Return how many of so many paths may be missing."""
        if isinstance(self.missing, int):
            return self.missing
        return int(paths * float(self.missing.rstrip("%")) / 100)


def complaint(channels: Sequence[Channel]) -> tuple[int, str, str] | None:
    """Return the place, key and mistake of what no schema finds; None if all is well."""
    seen: set[str] = set()
    for number, channel in enumerate(channels):
        if channel.name in seen:
            return number, "name", f"there are two channels {channel.name}"
        seen.add(channel.name)
        if channel.channel_url is not None and channel.project is not None:
            return number, "channel-url", "say either this or project and jobset"
        if channel.channel_url is None and (channel.project is None or channel.jobset is None):
            return number, "name", "say project and jobset, or channel-url"
        if not channel.builds and (channel.systems or channel.names or channel.without):
            return number, "builds", "systems and names are selected from the list of builds"
    return None
