"""Bytes <-> values, one definition a file. Pure."""
