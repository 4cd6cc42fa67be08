"""What a Hydra answers at which address. The files named are those of NixOS/hydra."""

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit

from tests.fakes.hydra_tables import HydraBuild, HydraEval, Json, NotFound, Tables

PER_PAGE = 20


@dataclass(frozen=True)
class Found:
    """What a controller came to: a value that is shown as JSON, a redirect, or plain bytes."""

    value: object = None
    location: str | None = None
    plain: bytes | None = None
    kind: str = "text/plain"
    template: bool = True


def answer(tables: Tables, target: str) -> Found:
    """Dispatch as Catalyst does; raises NotFound."""
    parts = urlsplit(target)
    query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    for pattern, controller in _ROUTES:
        if match := re.fullmatch(pattern, parts.path):
            return controller(tables, query, *map(_plain, match.groups()))
    raise NotFound("Page not found.")


def _plain(text: str | None) -> str:
    return unquote(text or "")


def _evals(hydra: Tables, query: Json, project: str, jobset: str) -> Found:
    """Controller/Jobset.pm, evals_GET."""
    every = hydra.of_jobset(project, jobset)
    number = int(query.get("page", "1")) or 1
    last = math.ceil(len(every) / PER_PAGE)
    shown = every[(number - 1) * PER_PAGE : number * PER_PAGE]
    value: Json = {
        "evals": [each.wire() for each in shown],
        "first": "?page=1",
        "last": f"?page={last}",
    }
    if number > 1:
        value["previous"] = f"?page={number - 1}"
    if number < last:
        value["next"] = f"?page={number + 1}"
    return Found(value)


def _latest_eval(hydra: Tables, query: Json, project: str, jobset: str, rest: str) -> Found:
    """Controller/Jobset.pm, latest_eval: the jobset's name comes along as a parameter."""
    for each in hydra.of_jobset(project, jobset):
        if hydra.finished(each):
            return Found(location=f"/eval/{each.id}{rest}?" + urlencode({"name": jobset, **query}))
    raise NotFound("No evaluation found.")


def _jobset(hydra: Tables, query: Json, project: str, jobset: str) -> Found:
    """Schema/Result/Jobsets.pm, as_json (in part)."""
    hydra.of_jobset(project, jobset)
    return Found({"name": jobset, "project": project, "enabled": 1, "visible": True, "inputs": {}})


def _eval(hydra: Tables, query: Json, id: str) -> Found:
    """Controller/JobsetEval.pm, view_GET."""
    return Found(_find_eval(hydra, id).wire())


def _find_eval(hydra: Tables, id: str) -> HydraEval:
    found = hydra.evals.get(int(id))
    if found is None:
        raise NotFound(f"Evaluation {id} doesn't exist.")
    return found


def _eval_builds(hydra: Tables, query: Json, id: str) -> Found:
    """Controller/JobsetEval.pm, all_builds: there is no page for people."""
    found = _find_eval(hydra, id)
    return Found([hydra.builds[each].wire() for each in found.builds], template=False)


def _store_paths(hydra: Tables, query: Json, id: str) -> Found:
    """Controller/JobsetEval.pm, store_paths: of builds that went well and have a `nix-build`."""
    paths: set[str | None] = set()
    for number in _find_eval(hydra, id).builds:
        build = hydra.builds[number]
        if any(each.type == "nix-build" for each in build.products.values()):
            good = build.finished and build.buildstatus == 0
            paths.update(build.outputs.values() if good else ())
    return Found(sorted(paths, key=lambda path: path or ""), template=False)


def _eval_job(hydra: Tables, query: Json, id: str, job: str, rest: str) -> Found:
    """Controller/JobsetEval.pm, job."""
    for number in _find_eval(hydra, id).builds:
        if hydra.builds[number].job == job:
            return Found(location=f"/build/{number}{rest}")
    raise NotFound("This evaluation has no job with the specified name.")


def _find_build(hydra: Tables, id: str) -> HydraBuild:
    found = hydra.builds.get(int(id))
    if found is None:
        raise NotFound(f"Build with ID {id} doesn't exist.")
    return found


def _build(hydra: Tables, query: Json, id: str) -> Found:
    """Controller/Build.pm, build_GET."""
    return Found(_find_build(hydra, id).wire())


def _constituents(hydra: Tables, query: Json, id: str) -> Found:
    """Controller/Build.pm, constituents_GET."""
    of = [hydra.builds[each] for each in _find_build(hydra, id).constituents]
    return Found([each.wire() for each in sorted(of, key=lambda b: b.job)])


def _download(hydra: Tables, query: Json, id: str, ref: str, rest: str) -> Found:
    """Controller/Build.pm, download: by number or name; the name follows in the address."""
    build = _find_build(hydra, id)
    ref = ref or "1"
    if ref.isdigit():
        numbers = [int(ref)] if int(ref) in build.products else []
    else:
        numbers = [n for n, each in build.products.items() if each.name == ref]
        rest = f"/{ref}{rest}"
    if not numbers:
        raise NotFound(f"Build doesn't have a product {ref}.")
    product = build.products[numbers[0]]
    if not rest and (product.name or product.defaultpath):
        return Found(location=_default_uri(build, numbers[0]))
    if product.content is None:
        raise NotFound(f"File '{product.path}' does not exist.")
    return Found(plain=product.content, kind="application/octet-stream")


def _default_uri(build: HydraBuild, number: int) -> str:
    """Controller/Build.pm, defaultUriForProduct."""
    product = build.products[number]
    parts = (f"/build/{build.id}/download/{number}", product.name, product.defaultpath)
    return "/".join(part if at == 0 else quote(part) for at, part in enumerate(parts) if part)


def _by_type(hydra: Tables, query: Json, id: str, type: str, subtype: str) -> Found:
    """Controller/Build.pm, download_by_type."""
    build = _find_build(hydra, id)
    for number, each in sorted(build.products.items()):
        if (each.type, each.subtype) == (type, subtype):
            return Found(location=_default_uri(build, number))
    raise NotFound(f"Build doesn't have a build product with type {type}/{subtype}.")


def _latest(
    hydra: Tables, query: Json, project: str, jobset: str, job: str, which: str, rest: str
) -> Found:
    """Base/Controller/ListBuilds.pm: latest, latest_for, latest_finished."""
    builds = hydra.of_job(project, jobset, job or None)
    if which == "latest-finished":
        whole = {e.id for e in hydra.evals.values() if hydra.finished(e)}
        builds = [each for each in builds if whole & set(each.evaluations)]
    elif which == "latest-for":
        _, system, *others = rest.split("/")
        rest = "".join(f"/{other}" for other in others)
        builds = [each for each in builds if each.system == system]
    if not builds:
        raise NotFound("There is no successful build to redirect to.")
    return Found(location=f"/build/{builds[0].id}{rest}")


def _channel(hydra: Tables, query: Json, project: str, jobset: str, job: str, file: str) -> Found:
    """Base/Controller/NixChannel.pm, over `channel/latest` of ListBuilds.pm."""
    hydra.of_job(project, jobset, job or None)
    if file == "binary-cache-url":
        return Found(plain=f"{hydra.url}/".encode())
    if not hydra.local_store:
        # Helper/CatalystUtils.pm, requireLocalStore
        raise NotFound("Nix channels are not supported by this Hydra server.")
    return Found(plain=b"a tarball", kind="application/x-bzip2")


def _custom_channel(
    hydra: Tables, query: Json, project: str, jobset: str, job: str, name: str
) -> Found:
    """Controller/Channel.pm, nixexprs: redirects to the product of type `channel`."""
    for build in hydra.of_job(project, jobset, job)[:1]:
        for number, each in build.products.items():
            if each.type == "channel" and each.name == name:
                return Found(location=f"/build/{build.id}/download/{number}/{quote(name)}")
    raise NotFound(f"Channel {job} either doesn't exist or was never built successfully.")


def _latest_builds(hydra: Tables, query: Json) -> Found:
    """Controller/API.pm, latestbuilds and buildToHash."""
    wanted = {name: query[name] for name in ("project", "jobset", "job", "system") if name in query}
    rows = (b for b in sorted(hydra.builds.values(), key=lambda b: -b.id) if b.finished)
    found = [b for b in rows if all(getattr(b, name) == value for name, value in wanted.items())]
    hash = ("id", "project", "jobset", "job", "system", "nixname", "finished", "timestamp")
    shown = [
        {column: getattr(b, column) for column in (*hash, "buildstatus")}
        for b in found[: int(query["nr"])]
    ]
    return Found(plain=json.dumps(shown).encode(), kind="application/json")


_ROUTES: list[tuple[str, Callable[..., Found]]] = [
    (r"/jobset/([^/]+)/([^/]+)", _jobset),
    (r"/jobset/([^/]+)/([^/]+)/evals", _evals),
    (r"/jobset/([^/]+)/([^/]+)/latest-eval(/.*)?", _latest_eval),
    (r"/jobset/([^/]+)/([^/]+)()/(latest(?:-finished|-for)?)(/.*)?", _latest),
    (r"/jobset/([^/]+)/([^/]+)()/channel/latest(?:/(.*))?", _channel),
    (r"/eval/([0-9]+)", _eval),
    (r"/eval/([0-9]+)/builds", _eval_builds),
    (r"/eval/([0-9]+)/store-paths", _store_paths),
    (r"/eval/([0-9]+)/job/([^/]+)(/.*)?", _eval_job),
    (r"/build/([0-9]+)", _build),
    (r"/build/([0-9]+)/constituents", _constituents),
    (r"/build/([0-9]+)/download(?:/([^/]+)(/.*)?)?", _download),
    (r"/build/([0-9]+)/download-by-type/([^/]+)/([^/]+)", _by_type),
    (r"/job/([^/]+)/([^/]+)/([^/]+)/(latest(?:-finished|-for)?)(/.*)?", _latest),
    (r"/job/([^/]+)/([^/]+)/([^/]+)/channel/latest(?:/(.*))?", _channel),
    (r"/channel/custom/([^/]+)/([^/]+)/([^/]+)/([^/]+)", _custom_channel),
    (r"/api/latestbuilds", _latest_builds),
]
