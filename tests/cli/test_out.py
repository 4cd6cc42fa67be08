"""What a command says, and to whom."""

import io
import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narbor.cli import out
from narbor.cli.out import Out


def spoken(**more: bool) -> tuple[Out, io.StringIO, io.StringIO]:
    """Return an Out with the two streams it writes to."""
    results, messages = io.StringIO(), io.StringIO()
    return Out(stdout=results, stderr=messages, **more), results, messages


def test_results_and_messages_never_mix() -> None:
    """Results go to one stream, all else to the other."""
    speaker, results, messages = spoken()
    speaker.result({"a": 1}, "a is 1")
    speaker.say("hello")
    speaker.warn("oh")
    speaker.detail("not asked for")
    assert results.getvalue() == "a is 1\n"
    assert messages.getvalue() == "hello\nnarbor: oh\n"


def test_quiet_leaves_results_and_errors() -> None:
    """-q silences messages and progress, not warnings."""
    speaker, results, messages = spoken(quiet=True)
    speaker.result({"a": 1}, "a is 1")
    speaker.say("hello")
    with speaker.bar("work") as bar:
        bar.update(1, 2)
        bar.say("half")
    speaker.warn("oh")
    assert (results.getvalue(), messages.getvalue()) == ("a is 1\n", "narbor: oh\n")


@given(st.text(), st.integers())
def test_json_is_one_line(text: str, number: int) -> None:
    """Whatever stands in it, an event is one line that reads back as it was."""
    speaker, results, _ = spoken(json=True)
    speaker.event({"text": text, "number": number}, "for a person")
    written = results.getvalue()
    assert written.count("\n") == 1
    assert json.loads(written) == {"text": text, "number": number}


def test_an_event_goes_through_a_pipe_at_once() -> None:
    """A result may wait until the end; who reads events waits for each."""
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as reader, os.fdopen(writing, "w") as pipe:
        speaker = Out(json=True, stdout=pipe)
        speaker.event({"number": 1})
        assert reader.readline() == b'{"number": 1}\n'


@given(st.text())
def test_no_message_moves_the_cursor(text: str) -> None:
    """Messages are one line of what can be seen."""
    speaker, _, messages = spoken()
    speaker.warn(text)
    assert messages.getvalue()[:-1].isprintable()
    assert messages.getvalue()[-1] == "\n"


def test_progress_without_a_terminal_ends_with_a_line() -> None:
    """Items, bytes and rate; what was said in between stands above."""
    speaker, _, messages = spoken()
    with speaker.bar("mirror") as bar:
        bar.update(1, 4, 1_000, 4_000)
        bar.say("something")
        bar.update(4, 4, 4_000, 4_000)
    said, last = messages.getvalue().splitlines()
    assert said == "something"
    assert last.startswith("mirror: 4/4 items, 4.0 kB of 4.0 kB, ")
    assert last.endswith("/s")


def test_no_progress() -> None:
    """--no-progress leaves what is said."""
    speaker, _, messages = spoken(progress=False)
    with speaker.bar("mirror") as bar:
        bar.update(1, 4)
        bar.say("something")
    assert messages.getvalue() == "something\n"


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (123_456, "123 kB"),
        (51_600_000, "51.6 MB"),
        (2 * 10**12, "2.0 TB"),
        (10**16, "10000.0 TB"),
    ],
)
def test_amounts(size: int, text: str) -> None:
    """Powers of 1000, three figures."""
    assert out.amount(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59, "59 s"), (185, "3:05"), (7800, "2:10:00")]
)
def test_durations(seconds: float, text: str) -> None:
    """Seconds, minutes, hours."""
    assert out.duration(seconds) == text
