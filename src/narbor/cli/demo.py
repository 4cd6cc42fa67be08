"""`narbor demo [--once]`: a small farm out of this machine's own files, mirrored and served.

Two generations are built: the second is a rebuild in which only the library at the bottom changed.
Both are mirrored over HTTP and verified, and what the second one cost is told. Then every door is
opened; with `--once` one item is fetched back, compared, and the demo ends by itself.
"""

import argparse
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NoReturn

from narbor import wiring
from narbor.cli import loopback, showcase
from narbor.cli import mirror as mirroring
from narbor.cli import verify as verifying
from narbor.cli.options import Commands
from narbor.cli.out import Out, amount
from narbor.config import Config
from narbor.errors import Rejected, Unavailable
from narbor.formats import narinfo, streams, vouched
from narbor.names.keys import Keyring, SecretKey
from narbor.tasks import farm, mirror
from narbor.tasks.farm import Product, machine
from narbor.tasks.farm.recipes import Recipe
from narbor.tasks.mirror.sources import Upstream

KEY_NAME: Final = "narbor-demo-1"
LISTEN: Final = "127.0.0.1:8642"


class DemoFailed(Unavailable):
    """A stage of the demo did not do what it should."""


class WrongAnswer(Rejected):
    """The server says of an item what the farm did not sign."""


@dataclass(frozen=True, slots=True)
class Generation:
    """One state of the farm, in the store. `fetched` and `at_rest` are bytes for its new items.

    Items that refer to nothing are the same in every generation; `new` are all others.
    """

    products: tuple[Product, ...]
    new: tuple[Product, ...]
    fetched: int
    at_rest: int

    @property
    def nar_size(self) -> int:
        """All new NARs together, in bytes."""
        return sum(product.seal.size for product in self.new)


def add(commands: Commands) -> None:
    """Register the command."""
    parser = commands.add_parser(
        "demo", help="a small farm out of this machine's own files, mirrored and served"
    )
    parser.add_argument(
        "--once", action="store_true", help="fetch one item back, compare it, and end"
    )
    parser.add_argument(
        "--listen", metavar="HOST:PORT", help=f"{LISTEN} by default; with --once any free port"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, out: Out) -> int:
    """Run the demo in the home that was named, or in one that goes away with it."""
    with ExitStack() as stack:
        stack.enter_context(_ended_in_order())
        scratch = Path(stack.enter_context(TemporaryDirectory(prefix="narbor-demo-")))
        config = Config(home=args.home or scratch / "home", min_free=0)
        key = SecretKey.generate(KEY_NAME)
        generations = _mirrored(config, key, scratch / "farm", out)
        _verified(config, out)
        facts = _summary(generations)
        listen = args.listen or (f"127.0.0.1:{loopback.free_port()}" if args.once else LISTEN)
        server = stack.enter_context(loopback.narbor(config.home, listen))
        facts |= {"server": f"http://{listen}", "key": str(key.public)}
        if not args.once:
            out.result(facts, _table(generations) + "\n" + _doors(listen, key, generations[1]))
            return _serve(server, out)
        item = max(generations[1].products, key=lambda product: product.seal.size)
        _fetched_back(listen, key, item)
        facts["fetchedBack"] = str(item.path)
        back = f"fetched back  {item.path}\n              {item.seal.digest}, as it was signed"
        out.result(facts, f"{_table(generations)}\n{back}")
    return 0


@contextmanager
def _ended_in_order() -> Iterator[None]:
    """Let SIGTERM end the demo as Ctrl-C does, so that nothing is left behind."""

    def end(number: int, frame: object) -> NoReturn:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _mirrored(config: Config, key: SecretKey, folder: Path, out: Out) -> Sequence[Generation]:
    """Build and mirror both generations."""
    out.say("looking for programs, libraries and texts on this machine")
    recipes = machine.harvest()
    generations: list[Generation] = []
    seen: set[str] = set()
    with loopback.folder(folder) as url:
        for number in (1, 2):
            title = f"generation {number}"
            products = _built(recipes, title, key, folder, out)
            before = wiring.at_rest(config)
            fetched = _mirror(config, key, url, products, title, out)
            added = wiring.at_rest(config) - before
            new = tuple(product for product in products if product.path.base not in seen)
            seen.update(product.path.base for product in products)
            generations.append(Generation(products, new, fetched, added))
            _release(config, key, url, products, number)
    return generations


def _built(
    recipes: Sequence[Recipe], title: str, key: SecretKey, folder: Path, out: Out
) -> tuple[Product, ...]:
    made: list[Product] = []
    size = 0
    with out.bar(f"build {title}") as bar:
        for product in farm.build(recipes, "/nix/store", title, key, folder):
            made.append(product)
            size += product.seal.size
            bar.update(len(made), len(recipes), size)
    return tuple(made)


def _mirror(
    config: Config, key: SecretKey, url: str, products: Sequence[Product], title: str, out: Out
) -> int:
    """Mirror what was built over HTTP; return how many bytes came."""
    with wiring.open_http(config) as http, closing(wiring.open_library(config, True)) as library:
        upstream = Upstream(wiring.open_upstream(url, http), Keyring((key.public,)))
        paths = [product.path for product in products]
        quiet = Out(quiet=out.quiet, progress=out.progress, stderr=out.stderr)
        done = mirroring.follow(mirror.mirror(library, [upstream], paths), quiet, f"mirror {title}")
    here = done.counts.admitted + done.counts.skipped
    if done.failed or here != len(products):
        raise DemoFailed(f"of {len(products)} items, {here} were mirrored")
    return done.counts.fetched


def _release(
    config: Config, key: SecretKey, url: str, products: Sequence[Product], number: int
) -> None:
    """Let the demo's channel be at a generation."""
    with wiring.open_http(config) as http, closing(wiring.open_library(config, True)) as library:
        upstream = Upstream(wiring.open_upstream(url, http), Keyring((key.public,)))
        showcase.publish(library, upstream, number, products, url)


def _verified(config: Config, out: Out) -> None:
    with closing(wiring.open_library(config)) as library:
        found = verifying.check(library, out)
    if found.damaged or found.drifted or found.unused:
        raise DemoFailed(f"{config.home}: the store does not hold what was put in")


def _fetched_back(listen: str, key: SecretKey, item: Product) -> None:
    """Fetch an item from the server as any client would; raises Rejected unless it is the same."""
    server = f"http://{listen}"
    said = narinfo.parse(loopback.get(f"{server}/{item.path.hash_part}.narinfo"))
    vouched.vouch(said, Keyring((key.public,)))
    if said.path != item.path or said.seal != item.seal:
        raise WrongAnswer(f"{server} says {said.path} is {said.seal}, it is {item.seal}")
    packed = loopback.get(f"{server}/{said.url}")
    archive = streams.decompress([packed], said.compression, item.seal.size)
    for _ in streams.checked(archive, item.seal, f"the NAR of {item.path} from {server}"):
        pass


def _serve(server: "subprocess.Popen[bytes]", out: Out) -> int:
    out.say("serving until Ctrl-C")
    try:
        code = server.wait()
    except KeyboardInterrupt:
        return 0
    raise DemoFailed(f"narbor serve ended with {code}")


def _summary(generations: Sequence[Generation]) -> dict[str, object]:
    return {
        "generations": [
            {
                "items": len(each.products),
                "files": sum(product.files for product in each.products),
                "newItems": len(each.new),
                "narSize": each.nar_size,
                "fetched": each.fetched,
                "addedAtRest": each.at_rest,
                "addedShare": each.at_rest / each.nar_size,
            }
            for each in generations
        ]
    }


def _table(generations: Sequence[Generation]) -> str:
    first, second = generations
    lines = ["              items   files     new     as NARs     fetched     at rest"]
    for number, each in enumerate(generations, 1):
        files = sum(product.files for product in each.products)
        sizes = "".join(f"{amount(n):>12}" for n in (each.nar_size, each.fetched, each.at_rest))
        counts = f"{len(each.products):>7,}{files:>8,}{len(each.new):>8,}"
        lines.append(f"generation {number}{counts}{sizes}")
    whole, kept = first.nar_size + second.nar_size, first.at_rest + second.at_rest
    share = 100 * second.at_rest / second.nar_size
    lines += [
        f"both as NARs {amount(whole)}, kept in {amount(kept)} ({100 * kept / whole:.1f} %)",
        f"generation 2 added {second.at_rest:,} bytes = {share:.2f} % of its new NARs",
    ]
    return "\n".join(lines)


def _doors(listen: str, key: SecretKey, generation: Generation) -> str:
    """Tell for each door what somebody pastes to come in."""
    server = f"http://{listen}"
    top = generation.products[-1].path
    copy = f"nix copy --from '{server}' --option trusted-public-keys '{key.public}' {top}"
    return "\n".join(
        [
            "",
            "Nix        in nix.conf:",
            f"             extra-substituters = {server}",
            f"             extra-trusted-public-keys = {key.public}",
            "           or once, for one item and all it refers to:",
            f"             {copy}",
            "HTTP       what is said of an item, and what lies in it:",
            f"             curl {server}/{top.hash_part}.narinfo",
            f"             curl {server}/{top.hash_part}.ls",
            "Channel    a release for each generation, and programs.sqlite with all programs:",
            f"             nix-channel --add {server}/channels/{showcase.CHANNEL}",
            "             nix-channel --update",
            f"             curl -L {server}/channels/{showcase.CHANNEL}",
            "Plain      the same cache with uncompressed archives:",
            f"             curl {server}/plain/{top.hash_part}.narinfo",
            "",
        ]
    )
