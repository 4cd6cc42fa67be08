"""From an evaluation to a plan, against the fake Hydra over real sockets."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from narbor.catalogue import Catalogue, Package
from narbor.errors import Refused, Unavailable
from narbor.formats.hydra import MalformedHydra
from narbor.names import storepath
from narbor.names.release import BackInTime
from narbor.net import wire
from narbor.net.http import Http
from narbor.tasks.release import plan as planning
from narbor.tasks.release.plan import (
    Candidate,
    Followed,
    LeftOut,
    NoEvaluation,
    NoRevision,
    Plan,
    Unfinished,
)
from narbor.tasks.release.wants import Want, usual
from narbor.upstream.hydra import Hydra, Selection
from tests.fakes.faults import Instead, Status
from tests.fakes.hydra import FakeHydra
from tests.fakes.hydra_tables import HydraBuild, HydraEval, git, path_of

REVISION = "650e572363c0e9e1a9b4a6f2c5f1d2e3c4b5a697"
NAME = "nixos-25.05pre806273.650e572363c0"
CHANNEL = "nixos-unstable"
NIXOS = Followed(CHANNEL, "nixos", "trunk-combined", "tested", usual(CHANNEL), prefix="nixpkgs.")


@pytest.fixture(scope="module")
def http() -> Iterator[Http]:
    client = Http(wire.Options(proxies={}, attempts=2), sleep=lambda seconds: None)
    yield client
    client.close()


@pytest.fixture
def fake() -> Iterator[FakeHydra]:
    with FakeHydra() as server:
        yield server


@pytest.fixture
def hydra(fake: FakeHydra, http: Http) -> Hydra:
    return Hydra(fake.url, http)


def evaluate(fake: FakeHydra, name: str = NAME) -> HydraEval:
    """An evaluation as nixos has it: packages, the channel's tarball, images, tests."""
    made = fake.evaluate("nixos", "trunk-combined", nixpkgs=git(REVISION))
    fake.build(made, "tested", nixname=name)
    for system in ("x86_64-linux", "aarch64-linux"):
        hello = f"nixpkgs.hello.{system}"
        outputs = ("man", "dev", "out")
        fake.package(made, hello, system=system, nixname="hello-2.12", outputs=outputs)
    fake.package(made, "nixpkgs.python3Packages.six.x86_64-linux", nixname="python3-six-1.17")
    fake.package(made, "nixos.tests.simple.x86_64-linux")
    channel = fake.build(made, "nixos.channel", nixname=name.replace("nixos", "nixos-channel"))
    channel.offer("channel", "", f"{name}.tar.xz", b"expressions")
    tarball = fake.build(made, "nixpkgs.tarball", nixname="nixpkgs-tarball-25.05")
    tarball.offer("file", "source-dist", "nixpkgs.tar.xz", b"sources")
    tarball.offer("file", "json-br", "packages.json.br", b"packages")
    iso = fake.build(made, "nixos.iso_minimal.x86_64-linux", nixname="nixos-minimal.iso")
    iso.offer("file", "iso", f"{name}.iso", b"image", folder="iso")
    return made


def planned(hydra: Hydra, followed: Followed = NIXOS) -> Plan:
    candidate = planning.find(followed, hydra)
    assert candidate is not None
    return planning.plan(followed, candidate, hydra)


def job(fake: FakeHydra, name: str) -> HydraBuild:
    return next(build for build in fake.builds.values() if build.job == name)


def test_an_evaluation_becomes_a_plan(fake: FakeHydra, hydra: Hydra) -> None:
    made = evaluate(fake)
    plan = planned(hydra)
    assert (plan.channel, plan.name.text, plan.evaluation) == (CHANNEL, NAME, made.id)
    assert (plan.source, plan.revision) == (f"{fake.url}/eval/{made.id}", REVISION)
    assert [(each.file, each.job, each.member) for each in plan.files] == [
        ("nixexprs.tar.xz", "nixos.channel", f"tarballs/{NAME}.tar.xz"),
        ("packages.json.br", "nixpkgs.tarball", "tarballs/packages.json.br"),
        (f"{NAME}.iso", "nixos.iso_minimal.x86_64-linux", f"iso/{NAME}.iso"),
    ]
    assert plan.lacking == ()
    assert {each.want.job for each in plan.absent} == {
        "nixos.options",
        "nixos.iso_minimal.aarch64-linux",
        "nixos.iso_graphical.aarch64-linux",
        "nixos.iso_graphical.x86_64-linux",
    }
    assert all("no job" in each.reason for each in plan.absent)
    assert plan.left_out == LeftOut()


def test_packages_have_their_attributes_and_their_default_output_first(
    fake: FakeHydra, hydra: Hydra
) -> None:
    evaluate(fake)
    hello = job(fake, "nixpkgs.hello.aarch64-linux")
    bases = {name: storepath.parse(str(path)).base for name, path in hello.outputs.items()}
    found = {(each.attribute, each.system): each for each in planned(hydra).packages}
    assert set(found) == {
        ("hello", "x86_64-linux"),
        ("hello", "aarch64-linux"),
        ("python3Packages.six", "x86_64-linux"),
    }
    assert found["hello", "aarch64-linux"] == Package(
        "hello",
        "aarch64-linux",
        "hello-2.12",
        tuple((name, bases[name]) for name in ("out", "dev", "man")),
    )


def test_paths_are_sorted_and_each_comes_once(fake: FakeHydra, hydra: Hydra) -> None:
    made = evaluate(fake)
    fake.package(made, "nixpkgs.again.x86_64-linux", nixname="python3-six-1.17")
    plan = planned(hydra)
    lines = b"".join(plan.listing()).decode().splitlines(keepends=True)
    assert lines == sorted(set(lines))
    assert all(line.endswith("\n") for line in lines)
    assert {line.strip() for line in lines} == {
        path
        for name in (
            "hello.x86_64-linux",
            "hello.aarch64-linux",
            "python3Packages.six.x86_64-linux",
        )
        for path in job(fake, f"nixpkgs.{name}").outputs.values()
    } | {path_of("simple-1.0-x86_64-linux")}


def test_what_was_not_built_is_left_out_and_counted(fake: FakeHydra, hydra: Hydra) -> None:
    made = evaluate(fake)
    before = planned(hydra)
    bad = fake.build(made, "nixpkgs.bad.x86_64-linux", buildstatus=1)
    bad.products[1] = job(fake, "nixpkgs.hello.x86_64-linux").products[1]
    half = fake.package(made, "nixpkgs.half.x86_64-linux", outputs=("out", "dev"))
    half.outputs["dev"] = None
    foreign = fake.package(made, "nixpkgs.foreign.x86_64-linux")
    foreign.outputs["out"] = path_of("foreign", store="/gnu/store")
    plan = planned(hydra)
    assert plan.left_out == LeftOut(failed=1, outputs_without_path=1, outputs_of_other_stores=1)
    more = {str(path) for path in plan.paths} - {str(path) for path in before.paths}
    assert more == {half.outputs["out"]}
    attributes = {each.attribute for each in plan.packages}
    assert "half" in attributes
    assert not attributes & {"bad", "foreign"}


def test_an_unfinished_evaluation_is_not_planned(fake: FakeHydra, hydra: Hydra) -> None:
    made = evaluate(fake)
    candidate = planning.find(NIXOS, hydra)
    assert candidate is not None
    late = fake.build(made, "nixpkgs.late.x86_64-linux", finished=0)
    with pytest.raises(Unfinished, match=r"1 unfinished.*nixpkgs\.late"):
        planning.plan(NIXOS, candidate, hydra)
    assert planning.find(NIXOS, hydra) is None
    selected = replace(NIXOS, selection=Selection(without=("*.late.*",)))
    assert planning.plan(selected, candidate, hydra).left_out == LeftOut(unselected=1)
    late.finished = 1
    assert planned(hydra).left_out == LeftOut()


def test_systems_and_names_are_selected(fake: FakeHydra, hydra: Hydra) -> None:
    evaluate(fake)
    chosen = Selection(systems=("aarch64-linux",), names=("nixpkgs.*",))
    plan = planned(hydra, replace(NIXOS, selection=chosen))
    assert [each.attribute for each in plan.packages] == ["hello"]
    assert len(plan.paths) == 3
    # Files are wanted by name, whatever is selected.
    assert len(plan.files) == 3
    with pytest.raises(Refused, match="list of builds"):
        planned(hydra, replace(NIXOS, selection=chosen, builds=False))


def test_without_the_list_of_builds_the_rest_is_the_same(fake: FakeHydra, hydra: Hydra) -> None:
    made = evaluate(fake)
    whole = planned(hydra)
    path = f"/eval/{made.id}/builds"
    asked = fake.counts()[path]
    bare = planned(hydra, replace(NIXOS, builds=False))
    assert bare == replace(whole, packages=())
    assert fake.counts()[path] == asked
    foreign = fake.package(made, "nixpkgs.foreign.x86_64-linux")
    foreign.outputs["out"] = path_of("foreign", store="/gnu/store")
    left_out = LeftOut(outputs_of_other_stores=1)
    assert planned(hydra, replace(NIXOS, builds=False)) == replace(bare, left_out=left_out)


def test_a_job_that_cannot_be_had_is_absent_with_its_reason(fake: FakeHydra, hydra: Hydra) -> None:
    made = evaluate(fake)
    followed = replace(NIXOS, builds=False)
    fake.fail(f"/eval/{made.id}/job/nixos.channel", Status(500), always=True)
    junk = Instead(b"{}", {"Content-Type": "application/json"})
    fake.fail(f"/eval/{made.id}/job/nixpkgs.tarball", junk)
    plan = planned(hydra, followed)
    reasons = {each.want.job: each.reason for each in plan.absent}
    assert "HTTP 500" in reasons["nixos.channel"]
    assert "missing required field" in reasons["nixpkgs.tarball"]
    assert [each.want.job for each in plan.lacking] == ["nixos.channel"]


def test_wants_are_those_of_the_configuration(fake: FakeHydra, hydra: Hydra) -> None:
    evaluate(fake)
    wants = (
        Want("nixpkgs.tarball", "sources.tar.xz", number=1),
        Want("nixpkgs.tarball", "sources.tar.xz", number=2),
        Want("nixpkgs.tarball"),
        Want("nixpkgs.hello.x86_64-linux"),
        Want("gone", required=True),
    )
    plan = planned(hydra, replace(NIXOS, wants=wants))
    assert [each.file for each in plan.files] == ["sources.tar.xz"]
    reasons = [each.reason for each in plan.absent]
    for reason, words in zip(reasons, ("same name", "which of", "no hash", "no job"), strict=True):
        assert words in reason
    assert plan.lacking == plan.absent[-1:]


def test_a_release_is_found_by_its_job(fake: FakeHydra, hydra: Hydra) -> None:
    assert planning.find(NIXOS, hydra) is None
    first = evaluate(fake)
    second = evaluate(fake, NAME.replace("806273", "806300"))
    job(fake, "tested")
    fake.builds[second.builds[0]].buildstatus = 1
    found = planning.find(NIXOS, hydra)
    assert found is not None
    assert (found.evaluation.id, found.name.text) == (first.id, NAME)


def test_of_several_evaluations_the_newest_finished_one_counts(
    fake: FakeHydra, hydra: Hydra
) -> None:
    first = evaluate(fake)
    tested = job(fake, "tested")
    second, third = (fake.evaluate("nixos", "trunk-combined") for _ in range(2))
    for each in (third, second):
        fake.join(each, tested)
    late = fake.build(third, "late", finished=0)
    found = planning.find(NIXOS, hydra)
    assert found is not None
    assert found.evaluation.id == second.id
    fake.build(second, "late too", finished=0)
    fourth = fake.evaluate("nixos", "trunk-combined")
    assert fake.finished(fourth)
    found = planning.find(NIXOS, hydra)
    assert found is not None
    assert found.evaluation.id == first.id
    assert late.finished == 0


@pytest.mark.parametrize("good_first", [True, False])
def test_of_two_builds_of_a_job_the_good_one_counts(
    fake: FakeHydra, hydra: Hydra, good_first: bool
) -> None:
    made = evaluate(fake)
    good = job(fake, "nixos.channel").id
    bad = fake.build(made, "nixos.channel", buildstatus=1).id
    made.builds.remove(bad)
    made.builds.insert(made.builds.index(good) + good_first, bad)
    assert "nixexprs.tar.xz" in {each.file for each in planned(hydra).files}


def test_a_build_without_an_evaluation_is_refused(fake: FakeHydra, hydra: Hydra) -> None:
    made = evaluate(fake)
    other = fake.evaluate("nixos", "trunk-combined")
    tested = json.dumps({**job(fake, "tested").wire(), "jobsetevals": []}).encode()
    fake.fail(f"/build/{made.builds[0]}", Instead(tested, {"Content-Type": "application/json"}))
    with pytest.raises(NoEvaluation, match="part of no evaluation"):
        planning.find(NIXOS, hydra)
    assert fake.finished(other)


def test_any_jobset_can_be_released(fake: FakeHydra, hydra: Hydra) -> None:
    """A Hydra of one's own: no job that names the release, no nixpkgs, other products."""
    flake = f"git+https://git.example/tool?rev={REVISION}"
    made = fake.evaluate("tools", "main", flake=flake)
    fake.package(made, "tool.x86_64-linux")
    fake.build(made, "docs").offer("doc", "manual", "manual.pdf", b"pdf")
    followed = Followed("tool", "tools", "main", None, (Want("docs"),))
    plan = planned(hydra, followed)
    assert (plan.name.text, plan.revision) == (f"tool-{made.id}", REVISION)
    assert [each.file for each in plan.files] == ["manual.pdf"]
    assert [each.attribute for each in plan.packages] == ["tool"]
    named = replace(followed, job="docs")
    assert planned(hydra, named).name.text == "docs-1.0"
    fake.builds[made.builds[1]].nixname = "docs"
    assert planned(hydra, named).name.text == f"tool-{made.id}"


def test_the_revision_is_that_of_the_input_that_counts(fake: FakeHydra, hydra: Hydra) -> None:
    made = evaluate(fake)
    made.inputs["other"] = git("1" * 40)
    assert planned(hydra, replace(NIXOS, input="other")).revision == "1" * 40
    with pytest.raises(NoRevision, match=r"no input third.*nixpkgs, other"):
        planned(hydra, replace(NIXOS, input="third"))
    made.inputs["third"] = {**git("x"), "revision": None}
    with pytest.raises(NoRevision):
        planned(hydra, replace(NIXOS, input="third"))
    made.inputs["third"] = git("../../x")
    with pytest.raises(NoRevision):
        planned(hydra, replace(NIXOS, input="third"))
    made.flake = f"git+x?rev={REVISION}&other={'2' * 40}"
    del made.inputs["third"]
    with pytest.raises(NoRevision):
        planned(hydra, replace(NIXOS, input="third"))


def test_a_hydra_that_fails_makes_no_plan(fake: FakeHydra, hydra: Hydra) -> None:
    made = evaluate(fake)
    candidate = planning.find(NIXOS, hydra)
    assert candidate is not None
    fake.fail(f"/eval/{made.id}/builds", Status(500), always=True)
    with pytest.raises(Unavailable, match="500"):
        planning.plan(NIXOS, candidate, hydra)
    job(fake, "nixos.channel").products[1].sha256hash = "nonsense"
    fake.fail(f"/eval/{made.id}/builds")
    with pytest.raises(MalformedHydra, match=r"buildproducts\.1\.sha256hash"):
        planning.plan(NIXOS, candidate, hydra)


def test_a_plan_is_recorded_and_made_once(fake: FakeHydra, hydra: Hydra) -> None:
    evaluate(fake)
    catalogue = Catalogue.in_memory()
    candidate = planning.find(NIXOS, hydra)
    assert candidate is not None
    assert planning.due(NIXOS, candidate, catalogue)
    plan = planning.plan(NIXOS, candidate, hydra)
    for _ in range(2):
        planning.record(plan, catalogue, 5)
        assert planning.due(NIXOS, candidate, catalogue)
    assert list(catalogue.release_paths(CHANNEL, NAME)) == [path.base for path in plan.paths]
    assert set(catalogue.packages(CHANNEL, NAME)) == set(plan.packages)
    catalogue.publish_release(CHANNEL, NAME, 6)
    assert not planning.due(NIXOS, candidate, catalogue)
    made = catalogue.release(CHANNEL, NAME)
    assert made is not None
    assert (made.evaluation, made.source, made.revision) == (
        plan.evaluation,
        plan.source,
        REVISION,
    )
    catalogue.close()


def test_a_channel_never_goes_back_in_time(fake: FakeHydra, hydra: Hydra) -> None:
    catalogue = Catalogue.in_memory()
    newer, older = (NAME.replace("806273", number) for number in ("806300", "99999"))

    def candidate(name: str) -> Candidate:
        evaluate(fake, name)
        found = planning.find(NIXOS, hydra)
        assert found is not None
        return found

    first = candidate(NAME)
    planning.record(planning.plan(NIXOS, first, hydra), catalogue, 1)
    catalogue.publish_release(CHANNEL, NAME, 1)
    catalogue.advance(CHANNEL, NAME, 1)
    assert planning.due(NIXOS, candidate(newer), catalogue)
    with pytest.raises(BackInTime, match=f"{NAME}.*{older}"):
        planning.due(NIXOS, candidate(older), catalogue)
    # Not even behind a roll back.
    catalogue.remove_release(CHANNEL, older)
    catalogue.close()


def test_packages_of_a_large_evaluation_are_learnt_one_by_one(
    fake: FakeHydra, hydra: Hydra
) -> None:
    evaluate(fake)
    catalogue = Catalogue.in_memory()
    followed = replace(NIXOS, builds=False)
    known = {(each.attribute, each.system): each for each in planned(hydra).packages}

    def resolve(attribute: str, system: str = "x86_64-linux") -> Package | None:
        return planning.resolve(followed, catalogue, hydra, attribute, system)

    assert resolve("hello") is None
    planning.record(planned(hydra, followed), catalogue, 1)
    assert resolve("hello") is None
    catalogue.publish_release(CHANNEL, NAME, 1)
    catalogue.advance(CHANNEL, NAME, 1)
    for attribute, system in (("hello", "aarch64-linux"), ("python3Packages.six", "x86_64-linux")):
        assert resolve(attribute, system) == known[attribute, system]
    asked = len(fake.asked)
    assert resolve("hello", "aarch64-linux") == known["hello", "aarch64-linux"]
    assert len(fake.asked) == asked
    assert [each.attribute for each in catalogue.search(["hello"], CHANNEL)] == ["hello"]
    assert resolve("six") is None
    job(fake, "nixpkgs.hello.x86_64-linux").buildstatus = 1
    assert resolve("hello") is None
    catalogue.close()


BUILD = st.fixed_dictionaries(
    {
        "finished": st.just(1),
        "buildstatus": st.sampled_from([0, 0, 0, 1, 6]),
        "outputs": st.lists(st.sampled_from(["out", "dev", "man"]), unique=True),
        "nixname": st.sampled_from(["a-1", "b-2", "c-3"]),
        "system": st.sampled_from(["x86_64-linux", "aarch64-linux"]),
    }
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(st.lists(st.tuples(BUILD, st.booleans(), st.booleans()), max_size=8))
def test_paths_are_those_that_hydra_lists(
    fake: FakeHydra, hydra: Hydra, rows: list[tuple[dict[str, Any], bool, bool]]
) -> None:
    """Whatever was built: the list made of the builds is the one that Hydra makes."""
    made = fake.evaluate("p", "j", nixpkgs=git(REVISION))
    for number, (row, package, null) in enumerate(rows):
        add = fake.package if package else fake.build
        build = add(made, f"job{number}", **row)
        if null and build.outputs:
            build.outputs[min(build.outputs)] = None
    followed = Followed("mine", "p", "j", None, ())
    assert planned(hydra, followed).paths == hydra.store_paths(made.id)
    assert planned(hydra, followed).paths == planned(hydra, replace(followed, builds=False)).paths
