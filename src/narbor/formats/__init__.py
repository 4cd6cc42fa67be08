"""Bytes to values and back, one definition a file. Pure."""
