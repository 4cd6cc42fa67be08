"""Answers in memory: given while the library is the same, and never for long without a look."""

from hypothesis import given
from hypothesis import strategies as st

from narbor.doors import http
from narbor.serve import ready
from narbor.serve.ready import FRESH, WEIGHT, Kept, Ready


def kept(body: bytes = b"x") -> Kept:
    """Return an answer as it is kept."""
    return ready.kept(http.text(200, "x"), body)


def test_an_answer_is_spelt_as_messages() -> None:
    answer = ready.kept(http.text(404, "no", ("x-a", "b")), b"no\n")
    assert answer.start["status"] == 404
    assert (b"x-a", b"b") in answer.start["headers"]
    assert answer.body == {"type": "http.response.body", "body": b"no\n", "more_body": False}


def test_what_is_kept_is_given_until_the_look_is_too_old() -> None:
    answers = Ready()
    assert answers.get("/a", 0.0) is None
    assert answers.look(7, 10.0)
    answers.keep("/a", kept())
    assert answers.get("/a", 10.0) is not None
    assert answers.get("/a", 10.0 + 2 * FRESH - 0.01) is not None
    assert answers.get("/a", 10.0 + 2 * FRESH) is None
    assert answers.fresh_until == 10.0 + FRESH


def test_another_version_ends_all() -> None:
    answers = Ready()
    answers.look(7, 0.0)
    answers.keep("/a", kept())
    assert answers.look(7, 0.1)
    assert answers.get("/a", 0.1) is not None
    assert answers.look(8, 0.2)
    assert answers.get("/a", 0.2) is None
    assert len(answers) == 0


def test_a_look_that_comes_late_changes_nothing() -> None:
    answers = Ready()
    answers.look(8, 5.0)
    answers.keep("/a", kept())
    assert not answers.look(7, 4.0)
    assert answers.look(8, 4.0)
    assert answers.get("/a", 5.0) is not None
    assert answers.fresh_until == 5.0 + FRESH


def test_the_least_used_goes_first() -> None:
    limit = 20 * (WEIGHT + 100)
    answers = Ready(limit)
    answers.look(1, 0.0)
    for number in range(20):
        answers.keep(f"/{number}", kept(b"x" * 90))
    answers.get("/0", 0.0)
    for number in range(20, 25):
        answers.keep(f"/{number}", kept(b"x" * 90))
    assert answers.get("/0", 0.0) is not None
    assert answers.get("/1", 0.0) is None


def test_one_large_answer_does_not_drive_out_the_rest() -> None:
    answers = Ready(100_000)
    answers.look(1, 0.0)
    answers.keep("/a", kept())
    answers.keep("/large", kept(b"x" * 50_000))
    assert answers.get("/large", 0.0) is None
    assert answers.get("/a", 0.0) is not None


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 9000))))
def test_the_limit_holds_whatever_is_kept(kept_ones: list[tuple[int, int]]) -> None:
    limit = 40_000
    answers = Ready(limit)
    answers.look(1, 0.0)
    sizes: dict[str, int] = {}
    for name, size in kept_ones:
        answers.keep(f"/{name}", kept(bytes(size)))
        sizes[f"/{name}"] = size
    held = [path for path in sizes if answers.get(path, 0.0) is not None]
    assert len(held) == len(answers)
    assert sum(len(path) + WEIGHT for path in held) <= limit
