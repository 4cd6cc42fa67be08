"""What can be wrong with a configuration."""

from narbor.errors import Refused


class BadConfig(Refused):
    """A file, a variable or a flag says what cannot be meant."""
