"""Public caches that people know by name, with the keys they sign with.

A key stands here only when it is published by its owner and widely copied. To know a key is not to
trust it: whoever mirrors from such a cache by its URL trusts it by that, and no other.
"""

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Known:
    """A public cache. `keys` are Nix keys; `guix_keys` the points of Guix's, in hexadecimal."""

    url: str
    keys: tuple[str, ...] = ()
    guix_keys: tuple[str, ...] = ()


_NIXOS: Final = ("cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=",)
_BERLIN: Final = "8D156F295D24B0D9A86FA5741A840FF2D24F60F7B6C4134814AD55625971B394"
_BORDEAUX: Final = "7D602902D3A2DBB83F8A0FB98602A754C5493B0B778C8D1DD4E0F41DE14DE34F"

CACHES: Final = (
    Known("https://cache.nixos.org", _NIXOS),
    # Mirrors, with the signatures of the above.
    Known("https://mirror.sjtu.edu.cn/nix-channels/store", _NIXOS),
    Known("https://mirrors.tuna.tsinghua.edu.cn/nix-channels/store", _NIXOS),
    Known("https://mirrors.ustc.edu.cn/nix-channels/store", _NIXOS),
    Known(
        "https://nix-community.cachix.org",
        ("nix-community.cachix.org-1:mB9FSh9qf2dCimDSUo8Zy7bkq5CX+/rkCWyvRCYg3Fs=",),
    ),
    Known(
        "https://cachix.cachix.org",
        ("cachix.cachix.org-1:eWNHQldwUO7G2VkjpnjDbWwy4KQ/HNxht7H4SSoMckM=",),
    ),
    Known(
        "https://devenv.cachix.org",
        ("devenv.cachix.org-1:w1cLUi8dv3hnoSPGAuibQv+f9TZLr6cv/Hm9XgU50cw=",),
    ),
    Known(
        "https://numtide.cachix.org",
        ("numtide.cachix.org-1:2ps1kLBUWjxIneOy1Ik6cQjb41X0iXVXeHigGmycPPE=",),
    ),
    Known(
        "https://hyprland.cachix.org",
        ("hyprland.cachix.org-1:a7pgxzMz7+chwVL3/pzj6jIBMioiJM7ypFP8PwtkuGc=",),
    ),
    Known(
        "https://nix-gaming.cachix.org",
        ("nix-gaming.cachix.org-1:nbjlureqMbRAxR1gJ/f3hxemL9svXaZF/Ees8vCUUs4=",),
    ),
    Known(
        "https://cache.garnix.io",
        ("cache.garnix.io:CTFPyKSLcx5RMJKfLo5EEPUObbA78b0YQ2DTCJXqr9g=",),
    ),
    Known(
        "https://cache.iog.io",
        ("hydra.iohk.io:f/Ea+s+dFdN+3Y/G+FDgSq+a5NEWhJGzdjvKNGv0/EQ=",),
    ),
    Known("https://ci.guix.gnu.org", (), (_BERLIN,)),
    Known("https://bordeaux.guix.gnu.org", (), (_BORDEAUX,)),
)


def find(url: str) -> Known | None:
    """Return the cache at this URL; over plain HTTP and with parameters it is the same one."""
    wanted = _place(url)
    return next((cache for cache in CACHES if _place(cache.url) == wanted), None)


def _place(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.netloc.rpartition("@")[2].lower(), parts.path.rstrip("/")
