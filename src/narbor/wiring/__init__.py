"""From a Config to objects: the only room that names concrete classes.

Each module follows one thing that flows: `stores` what is kept, `upstreams` whom we ask, `holders`
whom we give to, `serving` who asks us, `agent` all of these for one machine, `keys` and
`processes` what they have in common. Those that only one program needs (`serving`, `agent`,
`holders`, `sources`) are imported by it: whoever looks into a store waits for no server to be
loaded.
"""

from narbor.wiring.keys import key_folder, keyring, read_secret, signing_keys
from narbor.wiring.processes import alive, process
from narbor.wiring.stores import NoHome, NoStore, at_rest, open_library, reindex
from narbor.wiring.upstreams import (
    believed,
    open_http,
    open_upstream,
    open_web,
    outward,
    says_trusted,
    store_paths,
    upstream_url,
)

__all__ = [
    "NoHome",
    "NoStore",
    "alive",
    "at_rest",
    "believed",
    "key_folder",
    "keyring",
    "open_http",
    "open_library",
    "open_upstream",
    "open_web",
    "outward",
    "process",
    "read_secret",
    "reindex",
    "says_trusted",
    "signing_keys",
    "store_paths",
    "upstream_url",
]
