"""The files that a release should have, and how each is chosen from what a build offers.

A want names a job of the evaluation, and which of its products: by number, type or subtype, where
it has several. `usual` is what channels.nixos.org has in a channel of such a name (as
mirror-nixos-branch.pl of nixos-channel-scripts says it); anything else is up to the configuration.
"""

import re
from dataclasses import dataclass
from typing import Final

from narbor.errors import Unavailable
from narbor.formats.hydra import Build, Product
from narbor.names.digest import Seal
from narbor.names.storepath import StorePath

# What a release consists of beside its products: no product may take these names.
OWN_FILES: Final = frozenset(
    {"src-url", "binary-cache-url", "git-revision", "store-paths", "store-paths.xz"}
    | {"index.html", "programs.sqlite", "binary_cache", "nix-cache-info"}
)
EXPRESSIONS: Final = "nixexprs.tar.xz"

_VERSION: Final = re.compile(r"nixos-([0-9]{2})\.([0-9]{2})")
_FILE: Final = re.compile(r"(?!\.)[^/\x00-\x1f\x7f]{1,200}")
_ARM, _INTEL, _OLD_INTEL = "aarch64-linux", "x86_64-linux", "i686-linux"


class NoProduct(Unavailable):
    """A build does not offer what is wanted."""


@dataclass(frozen=True, slots=True)
class Want:
    """A product of a job, to be kept as `file`, or under the name it has.

    None for `number`, `type` or `subtype` takes any, if only one fits. Without a `required` one
    there can be no release.
    """

    job: str
    file: str | None = None
    number: int | None = None
    type: str | None = None
    subtype: str | None = None
    required: bool = False

    def fits(self, product: Product) -> bool:
        """Tell whether a product is as wanted."""
        return (
            self.number in (None, product.number)
            and self.type in (None, product.type)
            and self.subtype in (None, product.subtype)
        )


@dataclass(frozen=True, slots=True)
class Chosen:
    """A file of a release: it lies in the item `path` at `member`, and must be as sealed.

    `member` is empty where the item is the file itself.
    """

    file: str
    job: str
    path: StorePath
    member: str
    seal: Seal


@dataclass(frozen=True, slots=True)
class Absent:
    """A file that a release should have and has not, and why."""

    want: Want
    reason: str


def choose(want: Want, build: Build, store: str) -> Chosen:
    """Choose the product that is wanted of a build of its job; raises NoProduct, which says why.

    `store` is the store directory that it must be in.
    """
    if not build.finished:
        raise NoProduct(f"build {build.id} is not finished")
    if not build.succeeded:
        raise NoProduct(f"build {build.id} failed (status {build.status})")
    fitting = [product for product in build.products if want.fits(product)]
    if not fitting:
        offered = ", ".join(f"{each.type}/{each.subtype}" for each in build.products)
        raise NoProduct(f"build {build.id} offers no such product (but {offered or 'nothing'})")
    if len(fitting) > 1:
        numbers = ", ".join(str(each.number) for each in fitting)
        raise NoProduct(f"build {build.id} offers several: say which of {numbers} is meant")
    product = fitting[0]
    which = f"product {product.number} of build {build.id}"
    if product.path is None:
        raise NoProduct(f"{which} has no path")
    if product.path.store != store:
        raise NoProduct(f"{which} lies in {product.path.store}, not in {store}")
    if product.digest is None or product.size is None:
        raise NoProduct(f"{which} has no hash: it is no single file")
    file = want.file or product.member.rpartition("/")[2] or product.path.name
    if file in OWN_FILES or file.endswith(".sha256") or _FILE.fullmatch(file) is None:
        raise NoProduct(f"{which} cannot be named {file!r}")
    seal = Seal(product.digest, product.size)
    return Chosen(file, want.job, product.path, product.member, seal)


def usual(channel: str) -> tuple[Want, ...]:
    """Return what a channel of this name has upstream."""
    if not channel.startswith("nixos"):
        return (
            Want("tarball", EXPRESSIONS, subtype="source-dist", required=True),
            Want("tarball", "packages.json.br", subtype="json-br"),
        )
    jobs = [f"nixos.iso_{kind}" for kind in _images(channel)]
    if "-small" not in channel and _version(channel) <= (24, 5):
        jobs.append(f"nixos.ova.{_INTEL}")
    return (
        Want("nixos.channel", EXPRESSIONS, required=True),
        Want("nixpkgs.tarball", "packages.json.br", subtype="json-br"),
        Want("nixos.options", "options.json.br", subtype="json-br"),
        *map(Want, jobs),
    )


def prefix(channel: str) -> str:
    """Return what stands before the attributes of packages in the jobs of such a channel."""
    return "nixpkgs." if channel.startswith("nixos") else ""


def _version(channel: str) -> tuple[int, int]:
    """The version in a channel's name; one without (unstable) is newer than any."""
    found = _VERSION.match(channel)
    return (int(found[1]), int(found[2])) if found else (99, 99)


def _images(channel: str) -> list[str]:
    """The kinds of images, which changed with the years."""
    version, small = _version(channel), "-small" in channel
    kinds = []
    if not small or version <= (24, 5):
        kinds += [f"minimal.{_ARM}", f"minimal.{_INTEL}"]
    if not small:
        if version < (24, 0):
            desktops = ["plasma5", "gnome"]
            kinds.append(f"minimal.{_OLD_INTEL}")
        else:
            desktops = ["plasma6", "gnome"] if version < (25, 0) else ["graphical"]
        kinds += [f"{desktop}.{system}" for desktop in desktops for system in (_ARM, _INTEL)]
    return kinds
