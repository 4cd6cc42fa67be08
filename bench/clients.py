"""What asks a server in a benchmark: wrk, curl, a lean reader, readers that are slow on purpose."""

import re
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PATIENCE: Final = 120.0
BUFFER: Final = 1 << 20

# wrk asks for the paths of a list in turn; `init` runs before wrk knows how to spell a request.
_TURNS: Final = """\
local requests, at = {}, 0
function init(args)
  for line in io.lines(args[1]) do requests[#requests + 1] = wrk.format("GET", line) end
end
function request()
  at = at % #requests + 1
  return requests[at]
end
"""


@dataclass(frozen=True, slots=True)
class Load:
    """What wrk saw: requests a second, and the requests in all."""

    rate: float
    count: int


def wrk(url: str, paths: Iterable[str], connections: int, seconds: int, folder: Path) -> Load:
    """Ask for `paths` in turn over keep-alive connections; every answer must be 200."""
    script, listed = folder / "turns.lua", folder / "turns.txt"
    script.write_text(_TURNS)
    listed.write_text("".join(f"{path}\n" for path in paths))
    words = (f"-c{connections}", f"-d{seconds}", "-t1", "-s", str(script), url, "--", str(listed))
    said = _run("wrk", *words)
    assert "Non-2xx" not in said and "Socket errors" not in said, said
    count, rate = re.search(r"(\d+) requests in", said), re.search(r"Requests/sec:\s+(\S+)", said)
    assert count is not None and rate is not None, said
    return Load(float(rate[1]), int(count[1]))


def curl(url: str) -> None:
    """Fetch one body with curl and throw it away."""
    _run("curl", "--silent", "--show-error", "--fail", "--output", "/dev/null", url)


class Lean:
    """One keep-alive connection whose bodies are read into one buffer and forgotten."""

    def __init__(self, port: int, receive: int | None = None) -> None:
        """Connect; `receive` bounds what the kernel takes in beforehand, in bytes."""
        self._socket = socket.socket()
        if receive is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
        self._socket.settimeout(PATIENCE)
        self._socket.connect(("127.0.0.1", port))
        self._buffer = bytearray(BUFFER)

    def __enter__(self) -> "Lean":
        return self

    def __exit__(self, *raised: object) -> None:
        self._socket.close()

    def fetch(self, path: str) -> int:
        """Fetch one body; return its size."""
        size, left = self.begin(path)
        while left:
            left -= self.read(left)
        return size

    def begin(self, path: str) -> tuple[int, int]:
        """Ask for a body; return its size, and how much of it has not come yet."""
        self._socket.sendall(f"GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n".encode())
        held, end = b"", -1
        while end < 0:
            held += bytes(self._buffer[: self._socket.recv_into(self._buffer, 65536)])
            end = held.find(b"\r\n\r\n")
        assert held.startswith(b"HTTP/1.1 200 "), held[:200]
        length = re.search(rb"(?i)\ncontent-length: *(\d+)", held[:end])
        assert length is not None, held[:end]
        return int(length[1]), int(length[1]) - (len(held) - end - 4)

    def read(self, most: int) -> int:
        """Take what has come, up to `most` bytes; return how much that is."""
        got = self._socket.recv_into(self._buffer, min(most, BUFFER))
        assert got, "the body ended too early"
        return got


def lean(port: int, paths: Sequence[str]) -> int:
    """Fetch all of these one after the other over one connection; return their bytes."""
    with Lean(port) as reader:
        return sum(map(reader.fetch, paths))


def slowly(port: int, paths: Sequence[str], seconds: float) -> int:
    """Read all of these at once, 256 KiB each ten times a second; return the bytes that came."""
    with ExitStack() as open_ones:
        readers = [open_ones.enter_context(Lean(port, 1 << 18)) for _ in paths]
        for reader, path in zip(readers, paths, strict=True):
            reader.begin(path)
        got, end = 0, time.monotonic() + seconds
        while time.monotonic() < end:
            got += sum(reader.read(1 << 18) for reader in readers)
            time.sleep(0.1)
    return got


@contextmanager
def served(argv: Sequence[str], port: int, log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a server that listens at a port of 127.0.0.1, in a session of its own."""
    with (
        log.open("wb") as output,
        subprocess.Popen(argv, stdout=output, stderr=output, start_new_session=True) as process,
    ):
        try:
            give_up = time.monotonic() + PATIENCE
            while not _listens(port):
                assert process.poll() is None and time.monotonic() < give_up, log.read_text()
                time.sleep(0.02)
            yield process
        finally:
            process.terminate()


def members(session: int) -> Iterator[tuple[Path, list[str]]]:
    """Give the folder under /proc of each process of a session, and the fields of its `stat`."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session:
            yield folder, fields


def cpu(session: int) -> float:
    """Return the seconds of CPU that the processes of a session have used, in hundredths."""
    return sum(int(fields[11]) + int(fields[12]) for _, fields in members(session)) / 100


def peak(session: int) -> list[float]:
    """Return the largest memory that each process of a session ever had, in MB."""
    said = [(folder / "status").read_text() for folder, _ in members(session)]
    found = [re.search(r"VmHWM:\s+(\d+) kB", text) for text in said]
    return sorted((int(match[1]) * 1024 / 1e6 for match in found if match), reverse=True)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _run(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout
