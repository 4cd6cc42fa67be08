"""Plain caches that are followed: one `[[follow]]` of the configuration each."""

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta, Struct

from narbor.config.channels import Key


class Follow(Struct, frozen=True, kw_only=True, rename="kebab", forbid_unknown_fields=True):
    """What `narbor watch` mirrors again and again, as `narbor mirror` does once.

    `url` and `also` are caches, asked in this order; `store_paths` is a list of paths at a URL or
    in a file, read anew every time. `interval` is in seconds.
    """

    name: Annotated[str, Meta(pattern=r"^[0-9A-Za-z][0-9A-Za-z+._\-]{0,99}$")]
    url: str
    also: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    store_paths: str | None = None
    keys: tuple[Key, ...] = ()
    trusted: bool = False
    closure: bool = True
    logs: bool = False
    interval: Annotated[int, Meta(ge=1)] = 3600


def complaint(follows: Sequence[Follow], taken: Sequence[str]) -> tuple[int, str, str] | None:
    """Return the place, key and mistake of what no schema finds; None if all is well.

    `taken` are names that others have.
    """
    seen = set(taken)
    for number, follow in enumerate(follows):
        if follow.name in seen:
            return number, "name", f"there is another {follow.name}"
        seen.add(follow.name)
        if not follow.paths and follow.store_paths is None:
            return number, "url", "nothing to follow: say paths or store-paths"
    return None
