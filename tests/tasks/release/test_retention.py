"""Which releases may go."""

from dataclasses import replace

import pytest

from narbor.catalogue import Channel, Release
from narbor.tasks.release.retention import Retention, expendable

NAMES = [f"nixos-25.05pre{n}.0123456789ab" for n in (99, 100, 101, 1000, 1001)]
AT = Channel("c", NAMES[4], NAMES[4], False, 0)
# Made in another order than that of their versions, a day apart, the oldest last.
RELEASES = [
    Release("c", name, 1, "source", "revision", day, published=day * 86_400)
    for day, name in enumerate(reversed(NAMES), 1)
]
NOW = 10 * 86_400


def gone(retention: Retention, channel: Channel = AT) -> list[int]:
    """The places in NAMES of those that may go."""
    return [NAMES.index(each.name) for each in expendable(channel, RELEASES, retention, NOW)]


@pytest.mark.parametrize(
    ("retention", "places"),
    [
        (Retention(), []),
        (Retention(keep=7), []),
        (Retention(keep=5), []),
        (Retention(keep=4), [0]),
        (Retention(keep=2), [0, 1, 2]),
        # The one that the channel is at stays even so.
        (Retention(keep=0), [0, 1, 2, 3]),
        (Retention(keep=2, pinned={NAMES[1]}), [0, 2]),
        # They were published 5 days ago (the lowest) to 9 (the highest).
        (Retention(seconds=7 * 86_400), [2, 3]),
        (Retention(seconds=7 * 86_400 + 1), [3]),
        (Retention(keep=2, seconds=7 * 86_400), [2]),
        (Retention(seconds=0), [0, 1, 2, 3]),
    ],
)
def test_the_newest_stay_by_version_and_the_young_by_age(
    retention: Retention, places: list[int]
) -> None:
    assert gone(retention) == places


def test_a_channel_that_was_rolled_back_keeps_where_it_is() -> None:
    assert gone(Retention(keep=1), replace(AT, current=NAMES[1])) == [0, 2, 3]


def test_others_and_those_in_the_making_stay_and_do_not_count() -> None:
    more = [
        replace(RELEASES[0], name="nixos-25.05pre2000.0123456789ab", published=None),
        replace(RELEASES[0], channel="other"),
    ]
    found = expendable(AT, [*more, *RELEASES], Retention(keep=4), NOW)
    assert [each.name for each in found] == NAMES[:1]
