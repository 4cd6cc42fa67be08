"""A real software world out of Debian packages, built and signed by the real Nix."""
