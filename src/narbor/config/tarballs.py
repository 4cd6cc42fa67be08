"""How source tarballs are fetched (table `tarballs`)."""

from typing import Annotated

from msgspec import Meta, Struct

from narbor.config.channels import Url, Word


class Tarballs(Struct, frozen=True, kw_only=True, rename="kebab", forbid_unknown_fields=True):
    """`limit` is in bytes, of one file. `hashed_mirrors` are those that know files by their hash;
    None: those that nixpkgs names. `systems` are those whose sources are listed."""

    jobs: Annotated[int, Meta(ge=1, le=256)] = 8
    limit: int = 8_000_000_000
    hashed_mirrors: tuple[Url, ...] | None = None
    repo: str = "https://github.com/NixOS/nixpkgs.git"
    systems: tuple[Word, ...] = ("x86_64-linux", "aarch64-linux")
