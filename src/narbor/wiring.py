"""From a Config to objects: the only file that names concrete classes."""

from narbor.config import Config


def open_library(config: Config, write: bool = False) -> object:
    """Open the library under `config.home`."""
    raise NotImplementedError(config.home, write)
