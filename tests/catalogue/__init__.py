"""Tests of the catalogue room, and the items they speak of."""
