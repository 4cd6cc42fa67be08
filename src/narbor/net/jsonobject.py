"""A JSON object (RFC 8259) that somebody gave for an answer."""

import json
from collections.abc import Mapping

from narbor.net.http import WrongAnswer


def read(content: bytes, name: str) -> Mapping[str, object]:
    """Read an object that `name` said; raises WrongAnswer."""
    try:
        said = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise WrongAnswer(f"{name}: {content[:200]!r} is no JSON: {error}") from error
    if not isinstance(said, dict):
        raise WrongAnswer(f"{name}: {content[:200]!r} is no JSON object")
    return said
