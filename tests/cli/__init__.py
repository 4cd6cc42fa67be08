"""Tests of the command line: the real program, as a person runs it."""
