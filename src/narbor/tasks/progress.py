"""What a mirror says while it runs: one frozen value after the other, each with the counts so far.

`path` is a full store path; bytes are those of the archives as they were served, compressed.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Counts:
    """How far it is. `wanted` items are found and missing here; the rest of the time is for them.

    `expected` bytes is an estimate where upstreams say nothing, and is mended as items arrive.
    """

    wanted: int = 0
    admitted: int = 0
    failed: int = 0
    skipped: int = 0
    fetched: int = 0
    expected: int = 0

    @property
    def done(self) -> int:
        """Wanted items that are settled, one way or the other."""
        return self.admitted + self.failed


@dataclass(frozen=True, slots=True)
class Found:
    """An upstream has a claim to this item that is vouched for. Sizes are in bytes."""

    path: str
    upstream: str
    nar_size: int
    file_size: int | None
    counts: Counts = field(default_factory=Counts, compare=False)


@dataclass(frozen=True, slots=True)
class Skipped:
    """The item is here already."""

    path: str
    counts: Counts = field(default_factory=Counts, compare=False)


@dataclass(frozen=True, slots=True)
class Listed:
    """What would be fetched, and from where. The hash is that of the file at the URL."""

    path: str
    url: str
    file_hash: str | None
    file_size: int | None
    counts: Counts = field(default_factory=Counts, compare=False)


@dataclass(frozen=True, slots=True)
class Moved:
    """Some more bytes came, of an item that is not through."""

    counts: Counts = field(default_factory=Counts, compare=False)


@dataclass(frozen=True, slots=True)
class Admitted:
    """The item is verified and kept; it lasts once the next Committed has come.

    `difference` says how the file differed from its FileHash or FileSize, though the NAR is right.
    """

    path: str
    upstream: str
    nar_size: int
    difference: str | None
    counts: Counts = field(default_factory=Counts, compare=False)


@dataclass(frozen=True, slots=True)
class Committed:
    """So many items more will survive a loss of power."""

    items: int
    counts: Counts = field(default_factory=Counts, compare=False)


@dataclass(frozen=True, slots=True)
class Failed:
    """The item could not be had: what each upstream that was asked had to say."""

    path: str
    reasons: tuple[tuple[str, str], ...]
    counts: Counts = field(default_factory=Counts, compare=False)


@dataclass(frozen=True, slots=True)
class Noted:
    """Something that whoever runs this should know, and that stopped nothing."""

    text: str
    counts: Counts = field(default_factory=Counts, compare=False)


@dataclass(frozen=True, slots=True)
class Done:
    """The end: all that failed, in the order of paths."""

    failed: tuple[Failed, ...]
    counts: Counts = field(default_factory=Counts, compare=False)


Progress = Found | Skipped | Listed | Moved | Admitted | Committed | Failed | Noted | Done
