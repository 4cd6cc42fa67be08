"""The files of a release, made and checked.

    nixexprs.tar.xz  packages.json.br  ISOs  ...             products, out of the items they lie in
    FILE.sha256                                              beside each product
    src-url  binary-cache-url  store-paths  store-paths.xz   said by the plan
    index.html  git-revision                                 a page, and the mark that it is whole

A product is its root in the tree of the item that it lies in: nothing is copied, but all of it is
read and held against the SHA-256 that the Hydra told.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from narbor.errors import Rejected, Unavailable
from narbor.formats import packing, releasepage
from narbor.formats.streams import checked
from narbor.library import Library, links
from narbor.library.admission import Keep
from narbor.library.links import Elsewhere
from narbor.names.cid import Cid
from narbor.names.file import File
from narbor.tasks.release.plan import Plan
from narbor.tasks.release.wants import Chosen, Want

LAST: Final = "git-revision"
PAGE: Final = "index.html"
HASH: Final = ".sha256"


class NoFile(Unavailable):
    """A product is not where its build says, or its item is not here."""


@dataclass(frozen=True, slots=True)
class Unfit:
    """A file that cannot be part of the release: it lies, or cannot be had.

    Without a `required` one there is no release.
    """

    file: str
    reason: str
    required: bool


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What a plan does not know. `target` is the cache to name, `made` and `now` are times.

    `made` is when the evaluation was: the files are as old.
    """

    target: str
    made: int
    now: int


def products(
    library: Library, plan: Plan, at: Circumstances, wants: Sequence[Want]
) -> Iterator[File | Unfit]:
    """Look at the products of a plan, one by one; raises what the library raises."""
    required = {want.job for want in wants if want.required}
    for chosen in plan.files:
        try:
            root = product(library, chosen)
        except (Rejected, NoFile) as error:
            yield Unfit(chosen.file, str(error), chosen.job in required)
        else:
            yield File(chosen.file, root, chosen.seal, at.made)


def own(plan: Plan, at: Circumstances, found: Sequence[File], keep: Keep) -> Iterator[File]:
    """Make what a release has beside the products that were `found`; `git-revision` comes last.

    They are in the store, and not yet written down.
    """
    made = []
    for name, chunks in _own(plan, at, found):
        root, seal = keep(chunks)
        made.append(File(name, root, seal, at.made))
        yield made[-1]
    # The page cannot tell of itself, nor of the mark, which must not come before it.
    shown = sorted((*found, *made), key=lambda file: file.name)
    page = releasepage.release(plan.name.text, shown, at.now, plan.revision, plan.source)
    for name, content in ((PAGE, page), (LAST, plan.revision.encode())):
        root, seal = keep([content])
        yield File(name, root, seal, at.made)


def _own(
    plan: Plan, at: Circumstances, found: Sequence[File]
) -> Iterator[tuple[str, Iterable[bytes]]]:
    yield "src-url", [plan.source.encode()]
    yield "binary-cache-url", [at.target.encode()]
    yield "store-paths", plan.listing()
    yield "store-paths.xz", packing.xz(plan.listing())
    for file in found:
        # As sha256sum writes it, and reads it again.
        yield file.name + HASH, [f"{file.seal.digest.hex}  {file.name}\n".encode()]


def product(library: Library, chosen: Chosen) -> Cid:
    """Return the root of a product, all of it read and as it was sealed.

    Raises NoFile, Mismatch, Unavailable for lost blocks.
    """
    item = library.item(chosen.path.base)
    if item is None:
        raise NoFile(f"{chosen.path} is not here")
    place = chosen.member.encode()
    what = f"{chosen.path}/{chosen.member}".rstrip("/")
    found = links.follow(library, item, place)
    if isinstance(found, Elsewhere):
        target = found.target.decode("utf-8", "backslashreplace")
        raise NoFile(f"{what} is a link to {target}, which is not here")
    root = None if found is None else library.member(found.item, found.entry.path)
    if root is None:
        raise NoFile(f"{what} is no file")
    for _ in checked(library.content(root), chosen.seal, what):
        pass
    return root
