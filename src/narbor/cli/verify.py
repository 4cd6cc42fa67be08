"""`narbor verify [--repair]`: read everything again, and mend what is not what it was."""

import argparse
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from narbor import wiring
from narbor.cli import store
from narbor.cli.options import Commands
from narbor.cli.out import Bar, Out
from narbor.config import Config
from narbor.library import Library
from narbor.names import cid
from narbor.tasks.keep import repair, verify
from narbor.tasks.keep.repair import Repaired, Retired
from narbor.tasks.keep.verify import BadBlock, Damaged, Drifted, Finding, Progress, Verified


def add(commands: Commands) -> None:
    """Register the command."""
    parser = commands.add_parser("verify", help="read everything again and compare")
    parser.add_argument(
        "--repair", action="store_true", help="fetch what is damaged from its upstream again"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, out: Out) -> int:
    """Verify, and repair if told to; 1 while something is damaged."""
    with store.opened(args, write=args.repair) as (config, library):
        found = check(library, out)
        whole = not found.damaged and not found.drifted and not found.unused
        out.event(
            {
                "event": "verified",
                "blocks": found.blocks,
                "items": found.items,
                "damaged": len(found.damaged),
                "drifted": len(found.drifted),
                "unusedBadBlocks": len(found.unused),
            },
            f"{found.blocks:,} blocks and {found.items:,} items read, {_verdict(found)}",
        )
        if whole:
            return 0
        if not args.repair:
            out.say("`narbor verify --repair` fetches them again from where they came from")
            return 1
        return 0 if _repair(config, library, found, out) else 1


def check(library: Library, out: Out) -> Verified:
    """Verify the whole store, with progress; say at once what is wrong."""
    last: Finding | None = None
    with ThreadPoolExecutor() as pool:
        for last in _with_bars(verify.verify(library, pool), library.sizes().items, out):
            _tell(last, out)
    assert isinstance(last, Verified), "the last finding sums up"
    return last


def _with_bars(findings: Iterator[Finding], items: int, out: Out) -> Iterator[Finding]:
    """Give the findings that are news; show the others as progress, a bar for each stage."""
    with ExitStack() as stack:
        bars: dict[str, Bar] = {}
        for finding in findings:
            if not isinstance(finding, Progress):
                yield finding
                continue
            if finding.what not in bars:
                stack.pop_all().close()
                bars[finding.what] = stack.enter_context(out.bar(f"verify {finding.what}"))
            total = items if finding.what == "items" else None
            bars[finding.what].update(finding.done, total, finding.size, what=finding.what)


def _tell(finding: Finding, out: Out) -> None:
    facts: dict[str, object]
    match finding:
        case BadBlock(name, reason):
            facts = {"event": "bad block", "cid": cid.text(name), "reason": reason}
            out.event(facts, f"bad block  {cid.text(name)}: {reason}")
        case Damaged(base, reason, faults, shared):
            facts = {
                "event": "damaged",
                "item": base,
                "reason": reason,
                "blocks": [cid.text(name) for name in faults],
                "shared": list(shared),
            }
            also = f" (shares blocks with {len(shared)} more)" if shared else ""
            out.event(facts, f"damaged    {base}: {reason}{also}")
        case Drifted(base, rendering, now):
            facts = {
                "event": "drifted",
                "item": base,
                "advertised": str(rendering.digest),
                "now": str(now.digest),
            }
            was = f"was advertised as {rendering.digest}, is {now.digest}"
            out.event(facts, f"drifted    {base}: its {rendering.compression} NAR {was}")


def _verdict(found: Verified) -> str:
    if not found.damaged and not found.drifted and not found.unused:
        return "all as it was"
    parts = [
        f"{len(found.damaged):,} items damaged",
        f"{len(found.drifted):,} drifted",
        f"{len(found.unused):,} bad blocks that no item uses",
    ]
    return ", ".join(parts)


def _repair(config: Config, library: Library, found: Verified, out: Out) -> bool:
    """Mend; tell whether everything is whole again."""
    whole = True
    facts: dict[str, object]
    with wiring.open_http(config) as http:
        for step in repair.repair(library, found, lambda url: wiring.open_upstream(url, http)):
            match step:
                case Repaired(base, upstream):
                    facts = {"event": "repaired", "item": base, "upstream": upstream}
                    out.event(facts, f"repaired   {base}")
                case Retired(base, compression):
                    facts = {"event": "retired", "item": base, "compression": compression}
                    out.event(facts, f"retired    {base}: its {compression} NAR is made anew")
                case _:
                    whole = False
                    facts = {"event": "unrepaired", "item": step.base, "reasons": [*step.reasons]}
                    out.event(facts, f"unrepaired {step.base}: {'; '.join(step.reasons)}")
    return whole
