"""`python -m narbor.serve`: the server, told what to do by the configuration and NARBOR_* alone.

`narbor serve` becomes this program. Beside the variables of the configuration there are

    NARBOR_SIGN_WITH     files with secret keys, with `:` between them
    NARBOR_ACCESS_LOG    a file, or `-` for standard error

Exit codes: 0 stopped when told to · 2 the configuration is wrong · 3 nothing could be served.
"""

import os
import sys
from pathlib import Path

from narbor import config
from narbor.errors import NarborError, Refused
from narbor.names.keys import SecretKey
from narbor.serve import server


def main() -> int:
    """Serve; return the exit code."""
    try:
        paths = os.environ.get("NARBOR_SIGN_WITH", "").split(os.pathsep)
        keys = tuple(SecretKey.parse(Path(path).read_text("ascii")) for path in paths if path)
        server.run(config.load(), keys, os.environ.get("NARBOR_ACCESS_LOG"))
    except (NarborError, OSError) as error:
        sys.stderr.write(f"narbor: {error}\n")
        return 2 if isinstance(error, Refused) else 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
