"""Doors, tried without a socket."""
