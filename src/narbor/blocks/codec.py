"""zstd for blocks, for any number of threads."""

import threading

from narbor.formats import frames


class Codec(frames.Codec, threading.local):
    """A codec of which each thread has its own contexts."""
