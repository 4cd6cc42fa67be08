"""What Hydra says, read: its own examples, what the fake makes, and what is broken."""

import json
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narbor.formats import hydra
from narbor.formats.hydra import Evaluation, Input, MalformedHydra, Output, Page, Product
from narbor.names import storepath
from tests import strategies
from tests.fakes.hydra_tables import HydraBuild, HydraEval, git, path_of

# NixOS/hydra, hydra-api.yaml, examples `build-success` and `evals-success`.
BUILD: dict[str, Any] = {
    "buildproducts": {
        "1": {
            "filesize": None,
            "defaultpath": "",
            "name": "hello-2.10",
            "type": "nix-build",
            "sha256hash": None,
            "subtype": "",
            "path": "/nix/store/y26qxcq1gg2hrqpxdc58b2fghv2bhxjg-hello-2.10",
        }
    },
    "id": 1,
    "buildstatus": 0,
    "nixname": "hello-2.10",
    "finished": 1,
    "jobsetevals": [1],
    "stoptime": 1588365711,
    "system": "x86_64-linux",
    "drvpath": "/nix/store/ab9zv2y5gm8hr6g318p0s6kaclwj4slr-hello-2.10.drv",
    "buildoutputs": {"out": {"path": "/nix/store/y26qxcq1gg2hrqpxdc58b2fghv2bhxjg-hello-2.10"}},
    "job": "hello",
    "jobset": "hello",
    "buildmetrics": {},
    "priority": 100,
    "project": "example-hello",
    "starttime": 1588365711,
    "timestamp": 1588365711,
}
EVALS: dict[str, Any] = {
    "last": "?page=1",
    "evals": [
        {
            "builds": [2],
            "jobsetevalinputs": {
                "hydra": {
                    "revision": "84a3aecb1d976366060d0f0fd4df7d67b0855f5e",
                    "uri": "https://github.com/gilligan/hydra",
                    "type": "git",
                    "value": None,
                    "dependency": None,
                },
                "nixpkgs": {
                    "dependency": None,
                    "value": None,
                    "uri": "https://github.com/nixos/nixpkgs-channels",
                    "type": "git",
                    "revision": "ab3adfe1c769c22b6629e59ea0ef88ec8ee4563f",
                },
            },
            "id": 2,
            "hasnewbuilds": 1,
        }
    ],
    "first": "?page=1",
}
HELLO = storepath.parse("/nix/store/y26qxcq1gg2hrqpxdc58b2fghv2bhxjg-hello-2.10")


def spell(value: object) -> bytes:
    return json.dumps(value).encode()


def changed(**fields: Any) -> bytes:
    return spell({**BUILD, **fields})


def product(**fields: Any) -> bytes:
    return changed(buildproducts={"1": {**BUILD["buildproducts"]["1"], **fields}})


def test_hydras_own_example_of_a_build() -> None:
    assert hydra.build(spell(BUILD)) == hydra.Build(
        id=1,
        job="hello",
        system="x86_64-linux",
        name="hello-2.10",
        finished=True,
        status=0,
        evaluations=(1,),
        timestamp=1588365711,
        derivation="ab9zv2y5gm8hr6g318p0s6kaclwj4slr-hello-2.10.drv",
        outputs=(Output("out", HELLO),),
        products=(Product(1, "nix-build", "", "hello-2.10", HELLO, "", None, None),),
    )


def test_hydras_own_example_of_evaluations() -> None:
    revision = "84a3aecb1d976366060d0f0fd4df7d67b0855f5e"
    page = hydra.page(spell(EVALS))
    (found,) = page.evaluations
    assert page.next is None
    assert (found.id, found.builds, found.flake) == (2, None, None)
    assert list(found.inputs) == ["hydra", "nixpkgs"]
    assert found.inputs["hydra"] == Input("git", "https://github.com/gilligan/hydra", revision)
    whole = hydra.evaluation(spell(EVALS["evals"][0]))
    assert whole.builds == (2,)
    assert whole.inputs == found.inputs


@pytest.mark.parametrize(
    ("finished", "status", "good"),
    [(1, 0, True), (True, 0, True), (0, None, False), (1, 6, False), (1, 1, False), (0, 0, False)],
)
def test_success_is_finished_and_zero(finished: object, status: int | None, good: bool) -> None:
    found = hydra.build(changed(finished=finished, buildstatus=status))
    assert found.succeeded is good
    assert found.finished is bool(finished)


def test_what_is_not_known_yet_is_absent() -> None:
    outputs = {"out": {"path": None}, "dev": {"path": ""}, "lib": {}}
    found = hydra.build(changed(buildoutputs=outputs, nixname=None, drvpath=None, timestamp=None))
    assert found.outputs == (Output("dev", None), Output("lib", None), Output("out", None))
    assert (found.name, found.derivation, found.timestamp) == ("", None, 0)


def test_numbers_may_come_as_strings() -> None:
    found = hydra.build(changed(id="12", finished="1", buildstatus="0", jobsetevals=["3"]))
    assert (found.id, found.succeeded, found.evaluations) == (12, True, (3,))


def test_products_come_by_number_and_lie_inside_an_item() -> None:
    first, text = BUILD["buildproducts"]["1"], "0123456789abcdef" * 4
    iso = {
        **first,
        "type": "file",
        "subtype": "iso",
        "name": "x.iso",
        "path": f"{HELLO}/iso/x.iso",
        "filesize": "5",
        "sha256hash": text,
    }
    found = hydra.build(
        changed(buildproducts={"10": iso, "2": first, "3": {**first, "path": None}})
    )
    assert [each.number for each in found.products] == [2, 3, 10]
    assert found.products[1].path is None
    last = found.products[2]
    assert (last.path, last.member, last.size) == (HELLO, "iso/x.iso", 5)
    assert last.digest is not None
    assert last.digest.hex == text


@pytest.mark.parametrize("text", [f"{HELLO}//a/./b/", f"{HELLO}/a/b/.", f"{HELLO}/a//b"])
def test_untidy_paths_are_tidied(text: str) -> None:
    (found,) = hydra.build(product(path=text)).products
    assert (found.path, found.member) == (HELLO, "a/b")


def test_other_stores_are_read() -> None:
    path = path_of("x", store="/deep/er/store")
    found = hydra.build(product(path=f"{path}/a/b"))
    assert (str(found.products[0].path), found.products[0].member) == (path, "a/b")


@pytest.mark.parametrize(
    ("text", "field"),
    [
        (changed(id=None), "id"),
        (changed(id=-1), "id"),
        (changed(id=1 << 63), "id"),
        (changed(job=""), "job"),
        (changed(job="a/b"), "job"),
        (changed(job="a\nb"), "job"),
        (changed(job=["a"]), "job"),
        (changed(system="x" * 5000), "system"),
        (changed(nixname="a\0"), "nixname"),
        (changed(finished="yes"), "finished"),
        (changed(buildstatus="bad"), "buildstatus"),
        (changed(jobsetevals=["x"]), "jobsetevals"),
        (changed(drvpath="relative"), "drvpath"),
        (changed(buildoutputs=[]), "buildoutputs"),
        (changed(buildoutputs={"a b": {"path": None}}), "buildoutputs"),
        (changed(buildoutputs={"out": {"path": "/nix/store/short-x"}}), r"buildoutputs\.out\.path"),
        (changed(buildoutputs={"out": {"path": f"{HELLO}/in"}}), r"buildoutputs\.out\.path"),
        (changed(buildproducts={"one": BUILD["buildproducts"]["1"]}), r"buildproducts\.one"),
        (product(path="/etc/passwd"), r"buildproducts\.1\.path"),
        (product(path=f"{HELLO}/../x"), r"buildproducts\.1\.path"),
        (product(path=f"{HELLO}/x/.."), r"buildproducts\.1\.path"),
        (product(path=f"{HELLO}/a\nb"), r"buildproducts\.1\.path"),
        (product(path=HELLO.base), r"buildproducts\.1\.path"),
        (product(sha256hash="abc"), r"buildproducts\.1\.sha256hash"),
        (product(filesize=-1), "filesize"),
        (product(name="a\x7f"), r"buildproducts\.1\.name"),
        (product(type=None), "type"),
    ],
)
def test_what_is_wrong_is_named(text: bytes, field: str) -> None:
    with pytest.raises(MalformedHydra, match=field):
        hydra.build(text)


@pytest.mark.parametrize(
    "text",
    [b"", b"null", b"[]", b"{", b"\xff", b'{"id":"\\ud800"}', b'{"id":NaN}', b'{"id":1,"x":'],
)
def test_junk_is_refused(text: bytes) -> None:
    for read in (hydra.build, hydra.evaluation, hydra.page, hydra.store_paths):
        if (read, text) != (hydra.store_paths, b"[]"):
            with pytest.raises(MalformedHydra):
                read(text)


def test_depth_is_bounded() -> None:
    deep = spell(BUILD)[:-1] + b',"x":' + b"[" * 100_000
    with pytest.raises(MalformedHydra):
        hydra.build(deep)


@pytest.mark.parametrize(
    "next", ["?page=x", "https://elsewhere.example/?page=2", "?page=-1", "", 7]
)
def test_a_page_leads_to_a_page_only(next: object) -> None:
    with pytest.raises(MalformedHydra, match="next"):
        hydra.page(spell({**EVALS, "next": next}))
    assert hydra.page(spell({**EVALS, "next": "?page=2"})).next == 2


@pytest.mark.parametrize(
    "inputs",
    [{"a/b": git("0" * 40)}, {"": git("0")}, {"x": git("0\n")}, {"x": {"uri": 5}}, {"x": None}, []],
)
def test_inputs_of_an_evaluation_are_checked(inputs: object) -> None:
    with pytest.raises(MalformedHydra, match="jobsetevalinputs"):
        hydra.evaluation(spell({**EVALS["evals"][0], "jobsetevalinputs": inputs}))


def test_store_paths() -> None:
    paths = [str(HELLO), None, path_of("a")]
    assert [str(each) for each in hydra.store_paths(spell(paths))] == [str(HELLO), path_of("a")]
    with pytest.raises(MalformedHydra, match="store-paths"):
        hydra.store_paths(spell(["/etc/passwd"]))


LETTERS = st.text("abz.-_0'é", min_size=1, max_size=8)
IDS = st.integers(0, 2**40)


@st.composite
def builds(draw: st.DrawFn) -> HydraBuild:
    """Rows of a database as it may hold them."""
    finished = draw(st.integers(0, 1))
    build = HydraBuild(
        id=draw(IDS),
        project="p",
        jobset="j",
        job=draw(LETTERS),
        system=draw(st.sampled_from(["x86_64-linux", "builtin"])),
        nixname=draw(st.none() | strategies.names().map(lambda name: name[:200])),
        finished=finished,
        buildstatus=draw(st.sampled_from([0, 1, 2, 3, 4, 6, 7, 9, 10, 11])) if finished else None,
        evaluations=draw(st.lists(IDS, max_size=3)),
        outputs=draw(
            st.dictionaries(
                st.sampled_from(["out", "dev", "man"]),
                st.none() | strategies.store_paths().map(str),
            )
        ),
    )
    build.outputs.setdefault("out", path_of("x"))
    for content in draw(st.lists(st.binary(max_size=3), max_size=2)):
        if build.outputs["out"]:
            build.offer("file", "iso", "x.iso", content)
    return build


@given(st.lists(builds(), max_size=4), st.integers(1, 400))
def test_what_a_hydra_writes_is_read(rows: list[HydraBuild], size: int) -> None:
    text = spell([row.wire() for row in rows])
    found = list(hydra.builds(text[at : at + size] for at in range(0, len(text), size)))
    assert [each.id for each in found] == [row.id for row in rows]
    for each, row in zip(found, rows, strict=True):
        assert {o.name: o.path and str(o.path) for o in each.outputs} == row.outputs
        assert (each.job, each.system, each.name) == (row.job, row.system, row.nixname or "")
        assert each.succeeded == (row.finished == 1 and row.buildstatus == 0)
        assert each.evaluations == tuple(row.evaluations)
        for product in each.products:
            of = row.products[product.number]
            assert f"{product.path}/{product.member}" == of.path
            assert product.digest is not None
            assert (product.digest.hex, product.size) == (of.sha256hash, of.filesize)


@given(IDS, st.dictionaries(LETTERS, LETTERS.map(git), max_size=3), st.lists(IDS, max_size=4))
def test_an_evaluation_that_a_hydra_writes_is_read(
    id: int, inputs: dict[str, dict[str, Any]], ids: list[int]
) -> None:
    row = HydraEval(id, "p", "j", 5, inputs=inputs, builds=ids)
    found = hydra.evaluation(spell(row.wire()))
    expected = {
        name: Input(each["type"], each["uri"], each["revision"]) for name, each in inputs.items()
    }
    assert found == Evaluation(id, 5, None, expected, tuple(ids))
    page = hydra.page(spell({"evals": [row.wire()], "next": "?page=3"}))
    assert page == Page((Evaluation(id, 5, None, expected, None),), 3)


def test_answers_broken_a_little_are_read_or_refused() -> None:
    """Ten thousand answers with a byte or a run of bytes changed: our error, or a value."""
    luck = Random("hydra")
    build = HydraBuild(7, "p", "j", "a.b", "x86_64-linux", "b-1", outputs={"out": path_of("b")})
    build.offer("file", "iso", "b.iso", b"content")
    texts = [spell([build.wire()]), spell(EVALS), spell(BUILD), spell([str(HELLO), None])]
    good = 0
    for _ in range(10_000):
        text = bytearray(luck.choice(texts))
        for _ in range(luck.randint(1, 3)):
            at = luck.randrange(len(text))
            end = at + luck.choice((0, 1, 1, 8))
            text[at:end] = luck.choice(
                (b"", b'"', b"{", b"]", b"0", b"\\", b"\xff", b"-1e9", b"null")
            )
        for read in (hydra.build, hydra.page, hydra.store_paths, lambda t: list(hydra.builds([t]))):
            try:
                read(bytes(text))
                good += 1
            except MalformedHydra as error:
                assert str(error)
    assert good > 100
