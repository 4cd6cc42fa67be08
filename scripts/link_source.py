"""Make `narbor` importable and runnable in the virtual environment this runs in.

An editable install would fetch a build back end from the registry at an unpinned version; a path
file and a four-line program need nothing.
"""

import stat
import sys
import sysconfig
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent

Path(sysconfig.get_path("purelib"), "narbor-source.pth").write_text(f"{HERE / 'src'}\n")
program = Path(sysconfig.get_path("scripts"), "narbor")
program.write_text(
    f"#!{sys.executable}\nimport sys\nfrom narbor.cli.main import entry\n\nsys.exit(entry())\n"
)
program.chmod(program.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
