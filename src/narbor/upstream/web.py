"""Files of anybody's, by their addresses, over HTTP and FTP: what they are is known otherwise."""

from collections.abc import Iterator
from contextlib import contextmanager

from narbor.net.ftp import Ftp
from narbor.net.http import Http


class Web:
    """Where source tarballs come from. For any number of threads."""

    def __init__(self, http: Http, ftp: Ftp) -> None:
        self._http = http
        self._ftp = ftp

    def body(self, url: str) -> Iterator[bytes]:
        """Give what lies at `url`, as it is; raises what the two clients raise.

        No Content-Encoding is undone: a server that has one for a `.tar.gz` means the file itself.
        """
        if url.startswith("ftp://"):
            return self._ftp.body(url)
        return self._http.body(url, decoded=False)

    @contextmanager
    def abandoned(self) -> Iterator[None]:
        """Let all that is under way end soon, for as long as this lasts."""
        with self._http.abandoned(), self._ftp.abandoned():
            yield
