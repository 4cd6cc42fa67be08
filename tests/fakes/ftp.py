"""An FTP server on 127.0.0.1: files by path, anonymous, passive; it fails as it is told."""

import socketserver
from socket import create_server

from tests.fakes.server import Running


class FakeFtp(Running):
    """Serve `files`; `breaks` says after how many bytes the next transfers end, `busy` how often
    the next clients are sent away."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.breaks: list[int] = []
        self.busy = 0
        self.starts: list[int] = []
        fake = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                """Speak with one client."""
                _Session(fake, self).run()

        server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        super().__init__(server)
        self.url = f"ftp://{self.place}"


class _Session:
    def __init__(self, fake: FakeFtp, handler: socketserver.StreamRequestHandler) -> None:
        self._fake = fake
        self._handler = handler
        self._start = 0

    def say(self, text: str) -> None:
        self._handler.wfile.write(f"{text}\r\n".encode())

    def run(self) -> None:
        if self._fake.busy:
            self._fake.busy -= 1
            self.say("421 too many users")
            return
        self.say("220 ready")
        with create_server(("127.0.0.1", 0)) as self._passive:
            for line in self._handler.rfile:
                word, _, rest = line.decode("latin-1").strip().partition(" ")
                if not self._obey(word.upper(), rest):
                    return

    def _obey(self, word: str, rest: str) -> bool:
        match word:
            case "USER" | "PASS":
                self.say("230 welcome")
            case "TYPE":
                self.say("200 fine")
            case "EPSV" | "PASV":
                port = self._passive.getsockname()[1]
                high, low = divmod(port, 256)
                self.say(
                    f"229 go (|||{port}|)" if word == "EPSV" else f"227 (127,0,0,1,{high},{low})"
                )
            case "REST":
                self._start = int(rest)
                self.say("350 from there")
            case "RETR":
                return self._send(rest)
            case "QUIT":
                self.say("221 bye")
                return False
            case _:
                self.say("500 what?")
        return True

    def _send(self, path: str) -> bool:
        content = self._fake.files.get(path)
        if content is None:
            self.say("550 no such file")
            return True
        self._fake.starts.append(self._start)
        broken = self._fake.breaks.pop(0) if self._fake.breaks else None
        self.say("150 here it comes")
        peer, _ = self._passive.accept()
        with peer:
            peer.sendall(content[self._start :][:broken])
        if broken is None:
            self.say("226 done")
        return broken is None
