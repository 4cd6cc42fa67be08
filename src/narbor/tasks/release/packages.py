"""From a build to the package it is: where it stands in the expressions, what it puts out.

Jobs are named after attributes: `hello.x86_64-linux`, or behind a prefix of the jobset,
`nixpkgs.hello.x86_64-linux`.
"""

from sys import intern

from narbor.catalogue import Package
from narbor.formats.hydra import Build

_PACKAGE = "nix-build"


def listed(build: Build) -> bool:
    """Tell whether Hydra takes a build for a package, and its outputs into `store-paths`."""
    return any(product.type == _PACKAGE for product in build.products)


def of_build(build: Build, prefix: str, store: str) -> Package | None:
    """Return the package that a build is; None if it failed, or is something else.

    Manuals, tarballs and images stand among the packages, but are built once for all systems, and
    offer something else than themselves. Outputs of another store directory do not count.
    """
    suffix = f".{build.system}"
    if not (build.succeeded and build.job.startswith(prefix)):
        return None
    if not (listed(build) or build.job.endswith(suffix)):
        return None
    outputs = [
        (intern(output.name), output.path.base)
        for output in build.outputs
        if output.path is not None and output.path.store == store
    ]
    attribute = build.job.removeprefix(prefix).removesuffix(suffix)
    if not (outputs and attribute):
        return None
    # Hydra does not say which output is the default one; it is `out` where there is one.
    outputs.sort(key=lambda output: (output[0] != "out", output[0]))
    return Package(attribute, intern(build.system), build.name, tuple(outputs))
