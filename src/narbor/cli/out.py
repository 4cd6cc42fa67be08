"""What a command says: results on standard output, everything else on standard error.

Results are for a person or, with `--json`, one JSON document or one line of JSON per event.
Progress is a bar on a terminal and a plain line every few seconds elsewhere.
"""

import json
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import BinaryIO, Protocol, TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text

PLAIN_SECONDS = 5.0


class Bar(Protocol):
    """A running count, of items and of bytes, against what is expected (None: not yet known)."""

    def update(
        self,
        items: int,
        all_items: int | None,
        size: int = 0,
        all_size: int | None = None,
        what: str = "items",
    ) -> None:
        """Show that `items` items and `size` bytes are done."""
        ...

    def say(self, text: str) -> None:
        """Write a line to the person without disturbing the bar."""
        ...


@dataclass(frozen=True, slots=True)
class Out:
    """Where a command speaks. Made once from the global flags and given to every command."""

    json: bool = False
    quiet: bool = False
    verbose: bool = False
    progress: bool = True
    stdout: TextIO = field(default_factory=lambda: sys.stdout)
    stderr: TextIO = field(default_factory=lambda: sys.stderr)

    def result(self, document: object, text: str | None = None) -> None:
        """Give the result: `document` as JSON with --json, else `text` (None: nothing)."""
        if self.json:
            self.stdout.write(json.dumps(document, default=str) + "\n")
        elif text is not None:
            self.stdout.write(printable(text, keep="\n") + "\n")

    def event(self, document: Mapping[str, object], text: str | None = None) -> None:
        """Give one of many results, at once: a line of JSON, or a line of text."""
        self.result(document, text)
        # Whoever reads events waits for each, through a pipe too.
        self.stdout.flush()

    def binary(self) -> BinaryIO:
        """Return standard output for bytes."""
        self.stdout.flush()
        return self.stdout.buffer if hasattr(self.stdout, "buffer") else sys.stdout.buffer

    def say(self, text: str) -> None:
        """Tell the person something; not with -q."""
        if not self.quiet:
            print(printable(text), file=self.stderr, flush=True)

    def detail(self, text: str) -> None:
        """Tell what only -v wants to hear."""
        if self.verbose:
            print(printable(text), file=self.stderr, flush=True)

    def warn(self, text: str) -> None:
        """Say what went wrong without stopping the work."""
        print(f"narbor: {printable(text)}", file=self.stderr, flush=True)

    @contextmanager
    def bar(self, title: str) -> Iterator[Bar]:
        """Show progress under `title` while the context lasts."""
        if self.quiet or not self.progress:
            yield _Silent(self)
        elif self.stderr.isatty():
            yield from _on_terminal(title, self.stderr)
        else:
            plain = _Plain(title, self)
            yield plain
            plain.finish()


def printable(text: str, keep: str = "") -> str:
    """Return `text` with all escaped that is not for the eye, but for what `keep` has.

    Names and reasons come from others, and could move the cursor about.
    """
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in text
    )


def amount(size: float) -> str:
    """Spell a number of bytes for a person, in powers of 1000: `12.3 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def duration(seconds: float) -> str:
    """Spell a time for a person: `42 s`, `3:05`, `2:10:00`."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


@dataclass(frozen=True, slots=True)
class _Count:
    """How much is done, of how much, and what the items are called."""

    items: int = 0
    all_items: int | None = None
    size: int = 0
    all_size: int | None = None
    what: str = "items"


class _Silent:
    def __init__(self, out: Out) -> None:
        self.say = out.say

    def update(
        self,
        items: int,
        all_items: int | None,
        size: int = 0,
        all_size: int | None = None,
        what: str = "items",
    ) -> None:
        """Show nothing."""


class _Plain:
    """A line every few seconds, for logs."""

    def __init__(self, title: str, out: Out) -> None:
        self.say = out.say
        self._title = title
        self._begun = self._shown = time.monotonic()
        self._last: _Count = _Count()

    def update(
        self,
        items: int,
        all_items: int | None,
        size: int = 0,
        all_size: int | None = None,
        what: str = "items",
    ) -> None:
        """Remember the count; write a line when the last one is old enough."""
        self._last = _Count(items, all_items, size, all_size, what)
        if time.monotonic() - self._shown >= PLAIN_SECONDS:
            self._shown = time.monotonic()
            self._write()

    def finish(self) -> None:
        """Write the last line."""
        self._write()

    def _write(self) -> None:
        seconds = time.monotonic() - self._begun
        text = counts(self._last, seconds) + left(self._last, seconds)
        self.say(f"{self._title}: {text}")


def counts(count: _Count, seconds: float) -> str:
    """Spell a count: items, bytes and rate."""
    whole = "" if count.all_items is None else f"/{count.all_items:,}"
    parts = [f"{count.items:,}{whole} {count.what}"]
    if count.size or count.all_size:
        whole = "" if count.all_size is None else f" of {amount(count.all_size)}"
        parts.append(amount(count.size) + whole)
        parts.append(f"{amount(count.size / max(seconds, 1e-3))}/s")
    return ", ".join(parts)


def left(count: _Count, seconds: float) -> str:
    """Spell the time that is left, or nothing when it cannot be told."""
    if count.all_size:
        done = count.size / count.all_size
    else:
        done = count.items / count.all_items if count.all_items else 0
    return f", {duration(seconds * (1 - done) / done)} left" if 0 < done < 1 else ""


class _Counts(ProgressColumn):
    def render(self, task: Task) -> Text:
        """Write items, bytes and rate."""
        last: _Count = task.fields["last"]
        return Text(counts(last, task.elapsed or 0))


class _Drawn:
    """A bar drawn by rich."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def update(
        self,
        items: int,
        all_items: int | None,
        size: int = 0,
        all_size: int | None = None,
        what: str = "items",
    ) -> None:
        """Move the bar: by bytes where these are known, else by items."""
        done, whole = (size, all_size) if all_size else (items, all_items)
        last = _Count(items, all_items, size, all_size, what)
        self._progress.update(self._task, completed=done, total=whole, last=last)

    def say(self, text: str) -> None:
        """Write a line above the bar."""
        self._progress.console.print(printable(text), markup=False, highlight=False, soft_wrap=True)


def _on_terminal(title: str, stream: TextIO) -> Iterator[Bar]:
    progress = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=12),
        _Counts(Column(no_wrap=True)),
        TimeRemainingColumn(compact=True),
        console=Console(file=stream),
    )
    with progress:
        task = progress.add_task(title, total=None, last=_Count())
        yield _Drawn(progress, task)
