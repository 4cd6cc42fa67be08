"""Which files a release should have, and how each is chosen."""

import json
from hashlib import sha256

import pytest

from narbor.formats import hydra
from narbor.formats.hydra import Build
from narbor.names.digest import Digest, Seal
from narbor.tasks.release.wants import EXPRESSIONS, NoProduct, Want, choose, prefix, usual
from tests.fakes.hydra_tables import HydraBuild, path_of

STORE = "/nix/store"


def row() -> HydraBuild:
    """A build with a tarball and a list of packages, as nixpkgs' `tarball` has them."""
    made = HydraBuild(7, "p", "j", "tarball", "x86_64-linux", "nixpkgs-tarball-25.05")
    made.outputs = {"out": path_of("nixpkgs-tarball-25.05")}
    made.offer("file", "source-dist", "nixpkgs-25.05.tar.xz", b"expressions")
    made.offer("file", "json-br", "packages.json.br", b"packages", folder="")
    return made


def build(row: HydraBuild) -> Build:
    return hydra.build(json.dumps(row.wire()).encode())


def test_a_product_is_chosen_by_subtype_number_or_type() -> None:
    made = row()
    made.products[2].path = f"{made.outputs['out']}/packages.json.br"
    for want in (
        Want("tarball", EXPRESSIONS, subtype="source-dist"),
        Want("tarball", EXPRESSIONS, number=1),
        Want("tarball", EXPRESSIONS, number=1, type="file"),
    ):
        chosen = choose(want, build(made), STORE)
        assert (chosen.file, chosen.job) == (EXPRESSIONS, "tarball")
        assert str(chosen.path) == made.outputs["out"]
        assert chosen.member == "tarballs/nixpkgs-25.05.tar.xz"
        digest = Digest("sha256", sha256(b"expressions").digest())
        assert chosen.seal == Seal(digest, len(b"expressions"))
    own = choose(Want("tarball", subtype="json-br"), build(made), STORE)
    assert (own.file, own.member) == ("packages.json.br", "packages.json.br")


def test_an_item_may_be_the_file_itself() -> None:
    made = row()
    made.products[1].path = made.outputs["out"]
    chosen = choose(Want("tarball", number=1), build(made), STORE)
    assert (chosen.file, chosen.member) == ("nixpkgs-tarball-25.05", "")


@pytest.mark.parametrize(
    ("want", "reason"),
    [
        (Want("tarball"), "say which of 1, 2"),
        (Want("tarball", type="file"), "say which of 1, 2"),
        (Want("tarball", subtype="iso"), "file/source-dist, file/json-br"),
        (Want("tarball", number=3), "no such product"),
        (Want("tarball", "git-revision", number=1), "named 'git-revision'"),
        (Want("tarball", "x.sha256", number=1), "named"),
        (Want("tarball", "../x", number=1), "named"),
        (Want("tarball", ".", number=1), "named"),
        (Want("tarball", "a\nb", number=1), "named"),
    ],
)
def test_what_cannot_be_chosen_is_explained(want: Want, reason: str) -> None:
    with pytest.raises(NoProduct, match=reason):
        choose(want, build(row_with_paths()), STORE)


def row_with_paths() -> HydraBuild:
    made = row()
    made.products[2].path = f"{made.outputs['out']}/packages.json.br"
    return made


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"finished": 0}, "not finished"),
        ({"buildstatus": 6}, "status 6"),
        ({"products": {}}, "but nothing"),
    ],
)
def test_a_build_that_did_not_go_well_offers_nothing(
    changes: dict[str, object], reason: str
) -> None:
    made = row_with_paths()
    for name, value in changes.items():
        setattr(made, name, value)
    with pytest.raises(NoProduct, match=f"build 7.*{reason}"):
        choose(Want("tarball", number=1), build(made), STORE)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"path": None}, "no path"),
        ({"sha256hash": None}, "no single file"),
        ({"filesize": None}, "no single file"),
        ({"path": path_of("x", store="/gnu/store")}, "/gnu/store, not in /nix/store"),
    ],
)
def test_a_product_must_be_a_file_with_a_hash(changes: dict[str, object], reason: str) -> None:
    made = row_with_paths()
    for name, value in changes.items():
        setattr(made.products[1], name, value)
    with pytest.raises(NoProduct, match=reason):
        choose(Want("tarball", number=1), build(made), STORE)


ARM, INTEL = "aarch64-linux", "x86_64-linux"


def images(*kinds: str) -> list[str]:
    return [f"nixos.iso_{kind}.{system}" for kind in kinds for system in (ARM, INTEL)]


# mirror-nixos-branch.pl, read branch by branch.
@pytest.mark.parametrize(
    ("channel", "jobs"),
    [
        ("nixos-unstable", images("minimal", "graphical")),
        ("nixos-25.05", images("minimal", "graphical")),
        ("nixos-24.11", images("minimal", "plasma6", "gnome")),
        ("nixos-24.05", [*images("minimal", "plasma6", "gnome"), f"nixos.ova.{INTEL}"]),
        (
            "nixos-23.11",
            [
                *images("minimal", "plasma5", "gnome"),
                "nixos.iso_minimal.i686-linux",
                f"nixos.ova.{INTEL}",
            ],
        ),
        ("nixos-unstable-small", []),
        ("nixos-24.11-small", []),
        ("nixos-24.05-small", images("minimal")),
    ],
)
def test_images_of_a_nixos_channel(channel: str, jobs: list[str]) -> None:
    wants = usual(channel)
    assert [(want.job, want.file, want.subtype) for want in wants[:3]] == [
        ("nixos.channel", "nixexprs.tar.xz", None),
        ("nixpkgs.tarball", "packages.json.br", "json-br"),
        ("nixos.options", "options.json.br", "json-br"),
    ]
    assert sorted(want.job for want in wants[3:]) == sorted(jobs)
    assert [want.job for want in wants if want.required] == ["nixos.channel"]
    assert prefix(channel) == "nixpkgs."


@pytest.mark.parametrize("channel", ["nixpkgs-unstable", "nixpkgs-24.05-darwin", "mine"])
def test_a_channel_of_packages_alone(channel: str) -> None:
    assert usual(channel) == (
        Want("tarball", "nixexprs.tar.xz", subtype="source-dist", required=True),
        Want("tarball", "packages.json.br", subtype="json-br"),
    )
    assert prefix(channel) == ""
