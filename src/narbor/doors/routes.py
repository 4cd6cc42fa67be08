"""Which method of a door answers a path: a table of patterns, tried in its order."""

import re
from collections.abc import Callable
from typing import TypeAlias

from narbor.doors import http
from narbor.doors.http import Answer, Request

Method: TypeAlias = Callable[..., Answer | None]
Routes: TypeAlias = tuple[tuple[re.Pattern[str], Method], ...]


def table(*rows: tuple[str, Method]) -> Routes:
    """Make a table. A pattern's groups are what its method takes behind the request."""
    return tuple((re.compile(pattern, re.ASCII), method) for pattern, method in rows)


def read(routes: Routes, door: object, request: Request, path: str) -> Answer | None:
    """Let the first method whose pattern is all of `path` answer; None where there is none.

    What a table names can only be read: any other way to ask gets 405.
    """
    for pattern, method in routes:
        match = pattern.fullmatch(path)
        if match is not None:
            if request.method not in http.READING:
                return http.wrong_method(*http.READING)
            return method(door, request, *match.groups())
    return None
