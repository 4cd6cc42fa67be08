"""Plain caches, and roots by their names, that are followed: one `[[follow]]` each."""

from collections.abc import Sequence
from typing import Annotated, Final

from msgspec import Meta, Struct, field

from narbor.config.channels import Key

_SPACES: Final = ("/ipns/", "/ipfs/", "ipns://", "ipfs://")


class Follow(Struct, frozen=True, kw_only=True, rename="kebab", forbid_unknown_fields=True):
    """What `narbor watch` mirrors again and again, as `narbor mirror` does once.

    `url` and `also` are caches, asked in this order; `store_paths` is a list of paths at a URL or
    in a file, read anew every time. `interval` is in seconds.

    Or `url` is /ipns/NAME, and `sources` are narbors and gateways: what the name stands for is
    pulled, as `narbor import --from` does once, and kept under `name`.
    """

    name: Annotated[str, Meta(pattern=r"^[0-9A-Za-z][0-9A-Za-z+._\-]{0,99}$")]
    url: str
    also: tuple[str, ...] = ()
    sources: tuple[str, ...] = field(default=(), name="from")
    paths: tuple[str, ...] = ()
    store_paths: str | None = None
    keys: tuple[Key, ...] = ()
    trusted: bool = False
    closure: bool = True
    logs: bool = False
    interval: Annotated[int, Meta(ge=1)] = 3600

    @property
    def pulls(self) -> bool:
        """Whether a root is followed, and no cache."""
        return self.url.startswith(_SPACES)


def complaint(follows: Sequence[Follow], taken: Sequence[str]) -> tuple[int, str, str] | None:
    """Return the place, key and mistake of what no schema finds; None if all is well.

    `taken` are names that others have.
    """
    seen = set(taken)
    for number, follow in enumerate(follows):
        if follow.name in seen:
            return number, "name", f"there is another {follow.name}"
        seen.add(follow.name)
        listed = follow.paths or follow.store_paths is not None
        if follow.pulls and (listed or follow.also):
            return number, "url", "a root comes whole: say neither also, paths nor store-paths"
        if follow.pulls != bool(follow.sources):
            return number, "from", "sources are for a url such as /ipns/NAME, and it needs some"
        if not listed and not follow.pulls:
            return number, "url", "nothing to follow: say paths or store-paths"
    return None
