"""The world as a Nix expression: one derivation a package, references as dependencies are."""

import re
from collections.abc import Mapping

_HEAD = """\
{ generation ? "1" }:
let
  package = name: version: deb: deps: derivation {
    name = "${name}-${version}";
    system = builtins.currentSystem;
    builder = "/bin/sh";
    args = [ ./package.sh ];
    src = deb;
    inherit deps;
  };
  rebuilt = if generation == "1" then "" else "+rebuilt.${generation}";
  self = {
"""
_TAIL = """\
    world = derivation {
      name = "world";
      system = builtins.currentSystem;
      builder = "/bin/sh";
      args = [ ./profile.sh ];
      deps = [ @DEPS@ ];
    };
  };
in self
"""


def write(needs: Mapping[str, list[str]], versions: Mapping[str, str], bottom: str) -> str:
    """Write the expression of all packages in `needs`, plus `world`, which refers to all of them.

    With `--argstr generation 2` the version of the package `bottom` is another one, and so all
    that depends on it gets other names with the same content.
    """
    lines = []
    for name, deps in needs.items():
        version = re.sub(r"[^A-Za-z0-9.+_-]", "-", versions[name].split(":")[-1])
        changing = "${rebuilt}" if name == bottom else ""
        inputs = " ".join(f'self."{need}"' for need in deps)
        made = f'package "{name}" "{version}{changing}" ./debs/{name}.deb [ {inputs} ]'
        lines.append(f'    "{name}" = {made};\n')
    every = " ".join(f'self."{name}"' for name in needs)
    return _HEAD + "".join(lines) + _TAIL.replace("@DEPS@", every)
