"""From a Config to objects: the only room that names concrete classes.

Each module follows one thing that flows: `stores` what is kept, `upstreams` whom we ask, `holders`
whom we give to, `serving` who asks us, `agent` all of these for one machine, `keys` and
`processes` what they have in common.
"""

from narbor.wiring.agent import agent_home, open_agent
from narbor.wiring.keys import key_folder, keyring, read_secret, signing_keys
from narbor.wiring.processes import alive, process
from narbor.wiring.serving import doors
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
    "agent_home",
    "alive",
    "at_rest",
    "believed",
    "doors",
    "key_folder",
    "keyring",
    "open_agent",
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
