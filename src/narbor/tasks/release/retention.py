"""Which releases of a channel may go: by number and by age, in the order of releases.

The order is that of versions, whenever a release was made. What a channel is at never goes, nor
what is pinned, nor what is in the making.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from narbor.catalogue import Channel, Release
from narbor.names import release as names


@dataclass(frozen=True, slots=True)
class Retention:
    """How long releases are kept. None says nothing; with neither, all are kept for ever.

    `keep` of the newest stay, whatever their age; of the rest those stay that were published less
    than `seconds` ago.
    """

    keep: int | None = None
    seconds: int | None = None
    pinned: Collection[str] = ()


def expendable(
    channel: Channel, releases: Sequence[Release], retention: Retention, now: int
) -> Iterator[Release]:
    """Give the releases of a channel that may go, the oldest first.

    The one it is at counts among those that are kept by number, the ones in the making do not.
    """
    if retention.keep is None and retention.seconds is None:
        return
    own = [each for each in releases if each.channel == channel.name and each.published is not None]
    own.sort(key=lambda each: names.order(names.parse(each.name).version))
    older = own[: max(0, len(own) - (retention.keep or 0))]
    for each in older:
        age = now - (each.published or 0)
        young = retention.seconds is not None and age < retention.seconds
        if not (young or each.name == channel.current or each.name in retention.pinned):
            yield each
