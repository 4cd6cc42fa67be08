"""`narbor forget PATH...`: take pins away, and roots, so that `collect` may free the room."""

import argparse

from narbor.cli import store
from narbor.cli.options import Commands
from narbor.cli.out import Out
from narbor.library import Library
from narbor.names import cid


def add(commands: Commands) -> None:
    """Register the command."""
    parser = commands.add_parser("forget", help="take away the pins of what was asked for by name")
    parser.add_argument(
        "paths", nargs="+", metavar="PATH", help="a store path; the name or CID of a kept root"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, out: Out) -> int:
    """Unpin; 1 when something was not pinned."""
    code = 0
    with store.opened(args, write=True) as (config, library):
        roots = {text: _roots(library, text) for text in args.paths}
        paths = [store.path_of(text, config.store) for text in args.paths if not roots[text]]
        for name in (name for names in roots.values() for name in names):
            library.catalogue.let_go(name)
            out.event({"root": name, "forgotten": True}, f"forgotten  {name}")
        for path in paths:
            was = library.forget(path)
            out.event({"path": str(path), "forgotten": was}, f"forgotten  {path}" if was else None)
            if not was:
                out.warn(f"{path} was not pinned (pins are set by `narbor mirror URL PATH`)")
                code = 1
    return code


def _roots(library: Library, text: str) -> tuple[str, ...]:
    """Return the names that are spelt so, or that stand for this CID."""
    kept = library.catalogue.kept_roots()
    named = [each.name for each in kept if text in (each.name, cid.text(each.root))]
    # Of a directory that did not come whole there may be items without a root.
    items = text.isprintable() and library.catalogue.kept_items(text)
    return tuple(named or ([text] if items else []))
