"""`python -m narbor`: the same program as `narbor`."""

import sys

from narbor.cli.main import entry

sys.exit(entry())
