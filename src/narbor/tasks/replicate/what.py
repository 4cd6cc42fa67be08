"""What a person means by a word: the root that it stands for, and the name it is kept under."""

from narbor.catalogue import Catalogue
from narbor.dag import cachedir
from narbor.errors import Refused, Rejected
from narbor.formats import hamt
from narbor.library import Library
from narbor.library.reading import Reader
from narbor.names import cid, cidtext, storepath
from narbor.names.cid import Cid
from narbor.tasks.publish import CACHE

_PREFIX = "narbor"


class NothingPublished(Refused):
    """The cache was never published, so there is no root."""


class NoSuchRoot(Refused):
    """A word stands for no root."""


def find(library: Library, text: str) -> tuple[str, Cid]:
    """Return the name and the root of `cache`, CHANNEL/RELEASE, a store path, a kept name, a CID.

    Raises NothingPublished, NoSuchRoot, NotHere.
    """
    if text == CACHE:
        return f"{_PREFIX}/{CACHE}", _published(library.catalogue)
    kept = library.catalogue.kept_root(text)
    if kept is not None:
        return text, kept
    base = text.rstrip("/").rpartition("/")[2]
    if text.startswith("/") or storepath.is_hash_part(base[:32]):
        item = library.resolve(text)
        return f"{_PREFIX}/{item.path.base}", item.tree
    if "/" in text:
        return f"{_PREFIX}/{text}", _release(library, text)
    try:
        root = cidtext.known(cidtext.parse(text))
    except Rejected as error:
        raise NoSuchRoot(
            f"{text!r} is no root: `cache`, CHANNEL/RELEASE, a store path or a CID is ({error})"
        ) from error
    return f"{_PREFIX}/{cid.text(root)}", root


def _published(catalogue: Catalogue) -> Cid:
    found = catalogue.publication(CACHE)
    if found is None:
        raise NothingPublished("nothing is published yet: `narbor publish` makes the cache's root")
    return found.root


def _release(library: Library, text: str) -> Cid:
    """Return the directory of a release in what is published."""
    channel, _, name = text.partition("/")
    if library.release(channel, name) is None:
        raise NoSuchRoot(
            f"there is no release {text} (`narbor release list` tells which there are)"
        )
    get = Reader(library.blocks).node
    here = _published(library.catalogue)
    for part in (cachedir.RELEASES, channel.encode(), name.encode()):
        link = hamt.find(get(here), part, get)
        if link is None:
            raise NothingPublished(
                f"{text} is not in what is published: `narbor publish` brings it up to date"
            )
        here = link.cid
    return here
