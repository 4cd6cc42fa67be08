"""Strings and brackets of JSON (RFC 8259), for who looks for the end of a thing as it arrives.

All else may be passed over: outside of strings a bracket is nothing but a bracket.
"""

import re
from typing import Final

# A string with its end, if that is here (then the group holds it), or a bracket.
TOKEN: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+("?)|[{}\[\]]', re.DOTALL)
QUOTE: Final = b'"'[0]
OPENERS: Final = b"[{"
# Each piece may be gone through again with the next one, so small ones are put together.
SMALLEST_PIECE: Final = 1 << 16
