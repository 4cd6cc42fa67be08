"""What can go wrong, sorted by what to do next.

    NarborError
    ├── Rejected      the bytes lie or are malformed: drop them, never retry, blame the sender
    ├── Unavailable   no answer now: try later, or elsewhere
    └── Refused       the question or the configuration is wrong: fix the call

Every other error stands beside the code that raises it and belongs to exactly one family.
A message names the thing (path, CID, URL) and, where two values differ, both of them.
"""


class NarborError(Exception):
    """The root: catch it to catch all that narbor raises on purpose."""


class Rejected(NarborError):
    """The bytes lie or are malformed."""


class Unavailable(NarborError):
    """No answer can be had now."""


class Refused(NarborError):
    """The call or the configuration is wrong."""
