"""`python -m narbor.serve`: the server, told what to do by the configuration and NARBOR_* alone.

`narbor serve` becomes this program. NARBOR_ACCESS_LOG names a file, or is `-` for standard error.
Exit codes: 0 stopped when told to · 2 the configuration is wrong · 3 nothing could be served.
"""

import os
import sys

from narbor import config
from narbor.errors import NarborError, Refused
from narbor.serve import server


def main() -> int:
    """Serve; return the exit code."""
    try:
        server.run(config.load(), os.environ.get("NARBOR_ACCESS_LOG"))
    except NarborError as error:
        sys.stderr.write(f"narbor: {error}\n")
        return 2 if isinstance(error, Refused) else 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
