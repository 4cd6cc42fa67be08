"""Tell systemd how a service is: one datagram of `NAME=VALUE` lines (sd_notify(3))."""

import socket
from contextlib import suppress


class Notifier:
    """Speaks to `address`, what NOTIFY_SOCKET says; without one it keeps silent."""

    def __init__(self, address: str | None) -> None:
        # A name that begins with @ is in the abstract namespace.
        self._address = "\0" + address[1:] if address and address.startswith("@") else address

    def say(self, *lines: str) -> None:
        """Send lines. Nobody may be listening any more: that is no reason to fail."""
        if not self._address:
            return
        text = "\n".join(line.replace("\n", " ") for line in lines)
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
            link.sendto(text.encode(), self._address)

    def ready(self, status: str) -> None:
        """Say that the service is up."""
        self.say("READY=1", f"STATUS={status}")

    def status(self, text: str) -> None:
        """Say in words what is going on."""
        self.say(f"STATUS={text}")

    def reloading(self, microseconds: int) -> None:
        """Say that the configuration is being read again; `ready` ends it (monotonic clock)."""
        self.say("RELOADING=1", f"MONOTONIC_USEC={microseconds}")

    def stopping(self) -> None:
        """Say that the service is going down."""
        self.say("STOPPING=1", "STATUS=stopping")
