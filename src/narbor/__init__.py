"""narbor: one verified store of Nix and Guix software, and every door to it."""

VERSION = "0.1.0"
