"""Channels as channels.nixos.org and releases.nixos.org serve them, over a folder of files.

The page of a release is spelt as mirror-nixos-branch.pl (NixOS/nixos-channel-scripts) spells it.
"""

import lzma
from collections.abc import Mapping, Sequence
from hashlib import sha256

from tests.fakes.faults import Status
from tests.fakes.upstream import FakeCache

SOURCE = "https://hydra.example/eval/1814352"


def page(prefix: str, name: str, revision: str, files: Mapping[str, bytes]) -> bytes:
    """The page of a release."""
    link = f"https://github.com/NixOS/nixpkgs/commits/{revision}"
    rows = "".join(
        f"<tr><td><a href='{prefix}/{file}'>{file}</a></td><td align='right'>{len(content)}</td>"
        f"<td><tt>{sha256(content).hexdigest()}</tt></td></tr>"
        for file, content in sorted(files.items())
        if not file.endswith(".sha256")
    )
    return (
        f"<html><head><title>Channel release {name}</title></head><body><h1>Release {name}</h1>"
        f"<p>Released on 2025-06-01 12:00:00 from <a href='{link}'>Git commit "
        f"<tt>{revision}</tt></a> via <a href='{SOURCE}'>Hydra evaluation 1814352</a>.</p>"
        "<table><thead><tr><th>File name</th><th>Size</th><th>SHA-256 hash</th></tr></thead>"
        f"<tbody>{rows}</tbody></table></body></html>"
    ).encode()


def publish(
    web: FakeCache,
    channel: str,
    name: str,
    revision: str,
    paths: Sequence[str],
    files: Mapping[str, bytes],
) -> str:
    """Put a release on a server, and let the channel be at it; return the channel's address."""
    folder = f"/nixos/{channel}/{name}"
    listing = lzma.compress("".join(f"{path}\n" for path in sorted(paths)).encode())
    whole = {
        **files,
        "git-revision": revision.encode(),
        "src-url": SOURCE.encode(),
        "store-paths.xz": listing,
        **{f"{file}.sha256": sha256(data).hexdigest().encode() for file, data in files.items()},
    }
    web.files |= {f"{folder}/{file}": content for file, content in whole.items()}
    web.files[folder] = page(folder, name, revision, whole)
    there = {"Location": f"{web.url}{folder}/git-revision"}
    web.fail(f"/{channel}/git-revision", Status(302, there), always=True)
    return f"{web.url}/{channel}"
