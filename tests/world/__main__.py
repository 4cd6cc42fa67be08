"""`python -m tests.world` makes the world where there is none and names its folder."""

import sys

from tests.world import world

sys.stdout.write(f"{world.prepare().folder}\n")
