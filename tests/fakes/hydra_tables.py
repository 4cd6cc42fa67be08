"""What a Hydra keeps in its database: rows, spelt as its JSON spells them.

Change the rows, and it answers otherwise: unfinished builds, null outputs, missing products, wrong
hashes. The files named are those of NixOS/hydra, below subprojects/hydra/lib/Hydra.
"""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from narbor.names import base32

Json = dict[str, Any]


def path_of(name: str, seed: object = "", store: str = "/nix/store") -> str:
    """A store path whose hash part follows from its name and `seed`."""
    hash_part = base32.nix(sha256(f"{seed}{name}".encode()).digest()[:20])
    return f"{store}/{hash_part}-{name}"


@dataclass
class HydraProduct:
    """A row of BuildProducts. `content` is what a download gives; None for a folder."""

    type: str
    subtype: str
    name: str
    path: str | None
    content: bytes | None = None
    filesize: int | None = None
    sha256hash: str | None = None
    defaultpath: str | None = ""

    def wire(self) -> Json:
        """Schema/Result/BuildProducts.pm, json_hint."""
        hint = ("type", "subtype", "name", "filesize", "sha256hash", "path", "defaultpath")
        return {column: getattr(self, column) for column in hint}


@dataclass
class HydraBuild:
    """A row of Builds, with those of BuildOutputs and BuildProducts."""

    id: int
    project: str
    jobset: str
    job: str
    system: str
    nixname: str | None
    finished: int = 1
    buildstatus: int | None = 0
    timestamp: int = 1_700_000_000
    priority: int = 100
    releasename: str | None = None
    evaluations: list[int] = field(default_factory=list)
    outputs: dict[str, str | None] = field(default_factory=dict)
    products: dict[int, HydraProduct] = field(default_factory=dict)
    constituents: list[int] = field(default_factory=list)

    def wire(self) -> Json:
        """Schema/Result/Builds.pm, as_json."""
        late = self.timestamp + 60 if self.finished else None
        return {
            "id": self.id,
            "finished": self.finished,
            "timestamp": self.timestamp,
            "starttime": late,
            "stoptime": late,
            "project": self.project,
            "jobset": self.jobset,
            "job": self.job,
            "nixname": self.nixname,
            "system": self.system,
            "priority": self.priority,
            "buildstatus": self.buildstatus if self.finished else None,
            "releasename": self.releasename,
            "drvpath": path_of(f"{self.nixname or 'x'}.drv", self.id),
            "jobsetevals": self.evaluations,
            # Schema/Result/BuildOutputs.pm, json_hint: the column `path` may be null.
            "buildoutputs": {name: {"path": path} for name, path in self.outputs.items()},
            "buildproducts": {str(n): each.wire() for n, each in self.products.items()},
            "buildmetrics": {},
        }

    def offer(
        self, type: str, subtype: str, name: str, content: bytes, folder: str = "tarballs"
    ) -> HydraProduct:
        """Add a file to what the build offers, with its true size and hash."""
        number = len(self.products) + 1
        product = HydraProduct(
            type,
            subtype,
            name,
            f"{self.outputs['out']}/{folder}/{name}",
            content,
            len(content),
            sha256(content).hexdigest(),
        )
        self.products[number] = product
        return product


@dataclass
class HydraEval:
    """A row of JobsetEvals."""

    id: int
    project: str
    jobset: str
    timestamp: int
    hasnewbuilds: int = 1
    flake: str | None = None
    inputs: dict[str, Json] = field(default_factory=dict)
    builds: list[int] = field(default_factory=list)

    def wire(self) -> Json:
        """Schema/Result/JobsetEvals.pm, json_hint."""
        return {
            "id": self.id,
            "timestamp": self.timestamp,
            "checkouttime": 5,
            "evaltime": 300,
            "hasnewbuilds": self.hasnewbuilds,
            "flake": self.flake,
            "builds": self.builds,
            "jobsetevalinputs": self.inputs,
        }


def git(revision: str, uri: str = "https://git.example/nixpkgs.git") -> Json:
    """An input: Schema/Result/JobsetEvalInputs.pm, json_hint."""
    return {"revision": revision, "value": None, "type": "git", "uri": uri, "dependency": None}


class NotFound(Exception):
    """Helper/CatalystUtils.pm, notFound."""


class Tables:
    """Jobsets with evaluations and builds."""

    def __init__(self, local_store: bool) -> None:
        """`local_store`: whether it offers Nix channels (Helper/Nix.pm, isLocalStore)."""
        self.evals: dict[int, HydraEval] = {}
        self.builds: dict[int, HydraBuild] = {}
        self.local_store = local_store
        self.url = ""
        self._ids = itertools.count(1_800_000)

    def evaluate(
        self, project: str, jobset: str, flake: str | None = None, **inputs: Json
    ) -> HydraEval:
        """Add an evaluation, the newest of its jobset."""
        id = next(self._ids)
        self.evals[id] = HydraEval(
            id, project, jobset, 1_700_000_000 + id, flake=flake, inputs=inputs
        )
        return self.evals[id]

    def build(
        self,
        evaluation: HydraEval,
        job: str,
        nixname: str = "",
        outputs: Iterable[str] = ("out",),
        system: str = "x86_64-linux",
        **changes: Any,
    ) -> HydraBuild:
        """Add a build, finished and well unless `changes` say otherwise."""
        id = next(self._ids)
        nixname = nixname or f"{job.removesuffix(f'.{system}').rpartition('.')[2]}-1.0"
        paths: dict[str, str | None] = {
            name: path_of(f"{nixname}-{system}{'' if name == 'out' else '-' + name}")
            for name in outputs
        }
        build = HydraBuild(
            id, evaluation.project, evaluation.jobset, job, system, nixname, outputs=paths
        )
        for name, value in changes.items():
            setattr(build, name, value)
        self.builds[id] = build
        self.join(evaluation, build)
        return build

    def package(self, evaluation: HydraEval, job: str, **more: Any) -> HydraBuild:
        """Add a build of a package: Hydra gives it a product of type `nix-build`."""
        build = self.build(evaluation, job, **more)
        if build.finished and build.buildstatus == 0:
            name = build.nixname or ""
            build.products[1] = HydraProduct("nix-build", "", name, build.outputs.get("out"))
        return build

    def join(self, evaluation: HydraEval, build: HydraBuild) -> None:
        """Let a build be part of one more evaluation."""
        evaluation.builds.append(build.id)
        build.evaluations.append(evaluation.id)

    def finished(self, evaluation: HydraEval) -> bool:
        """Whether none of an evaluation's builds is unfinished."""
        return all(self.builds[id].finished for id in evaluation.builds)

    def of_jobset(self, project: str, jobset: str) -> list[HydraEval]:
        """The evaluations that are shown, the newest first: Helper/Nix.pm, getEvals."""
        found = [e for e in self.evals.values() if (e.project, e.jobset) == (project, jobset)]
        if not found:
            raise NotFound(f"Jobset ‘{jobset}’ doesn't exist.")
        return sorted((e for e in found if e.hasnewbuilds), key=lambda e: -e.id)

    def of_job(self, project: str, jobset: str, job: str | None) -> list[HydraBuild]:
        """The builds that went well, the newest first: `order_by => id DESC`."""
        self.of_jobset(project, jobset)
        rows = (b for b in self.builds.values() if (b.project, b.jobset) == (project, jobset))
        good = (b for b in rows if b.finished and b.buildstatus == 0 and job in (None, b.job))
        return sorted(good, key=lambda b: -b.id)
