"""`python -m narbor.serve.agent`: the agent, told what to do by the configuration and NARBOR_*.

`narbor agent` becomes this program. One worker has the agent's store to write in; the process above
it listens, ends it in order, and begins another should it die.

Exit codes: 0 stopped when told to · 2 the configuration is wrong · 3 nothing could be served.
"""

import asyncio
import os
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from narbor import config as configuration
from narbor.config import Config, Serve
from narbor.doors.agent import AgentDoor
from narbor.errors import NarborError, Refused
from narbor.serve import server
from narbor.serve.access import AccessLog
from narbor.serve.app import App, Service
from narbor.serve.metrics import Metrics
from narbor.tasks.agent import Agent
from narbor.wiring.agent import open_agent

PATIENCE: Final = 10
# Seconds for which downloads may go on when the end was told; then they end short.
GRACE: Final = 0.5
# Whoever waits for an upstream has a thread: as many as Nix has connections, and some more.
THREADS: Final = 64


class AgentMetrics(Metrics):
    """The counts of the server, and those of the agent."""

    def __init__(self, status: Callable[[], Mapping[str, object]]) -> None:
        super().__init__()
        self._status = status

    def text(self) -> bytes:
        """Return all counts, as Prometheus reads them."""
        return super().text() + counts(self._status())


def counts(status: Mapping[str, object]) -> bytes:
    """Spell the agent's counts as Prometheus reads them."""
    lines = []
    sums = status["sums"]
    if isinstance(sums, dict):
        lines += [f"narbor_agent_{name} {value}" for name, value in sorted(sums.items())]
    for kind in ("upstreams", "sources", "wire"):
        found = status[kind]
        for each in found if isinstance(found, list) else ():
            name = str(each["name"]).replace("\\", "\\\\").replace('"', '\\"')
            lines += [
                f'narbor_agent_{kind}_{key}{{name="{name}"}} {value}'
                for key, value in each.items()
                if isinstance(value, int | float)
            ]
    return "".join(f"{line}\n" for line in lines).encode()


class Ending:
    """A front that gives up what upstreams do not bring, soon after the end was told."""

    def __init__(self, front: Service, give_up: Callable[[], None]) -> None:
        self._front = front
        self._give_up = give_up

    async def open(self) -> None:
        """Begin."""
        await self._front.open()

    async def close(self) -> None:
        """End: answers that do not come to their end by themselves end short."""
        waiting = asyncio.get_running_loop().call_later(GRACE, self._give_up)
        try:
            await self._front.close()
        finally:
            waiting.cancel()


class AgentApp(App):
    """The application of an agent."""

    def __init__(self, agent: Agent, door: AgentDoor, log: AccessLog | None) -> None:
        super().__init__((door,), agent, AgentMetrics(agent.status), log, threads=THREADS)
        self._agent = agent

    def attach(self, front: Service) -> None:
        """Open and close a front with this application."""
        super().attach(Ending(front, self._agent.give_up))


def load(config: Config, access: str | None) -> App:
    """Open the agent and return the application."""
    agent, door = open_agent(config)
    log = None if access is None else AccessLog.open(access)
    return AgentApp(agent, door, log)


def run(config: Config, access: str | None = None) -> None:
    """Serve until told to stop; raises what opening the agent raises, BadAddress, AddressTaken."""
    # Once here, where an error can be told; a worker could only die of it, again and again.
    agent, _ = open_agent(config)
    agent.close()
    where = configuration.replace(config, serve=Serve(listen=config.agent.listen))
    server.serve(where, partial(load, config, access), PATIENCE)


def main() -> int:
    """Serve; return the exit code."""
    try:
        run(configuration.load(), os.environ.get("NARBOR_ACCESS_LOG"))
    except (NarborError, OSError) as error:
        sys.stderr.write(f"narbor: {error}\n")
        return 2 if isinstance(error, Refused) else 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
