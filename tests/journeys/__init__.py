"""Whole ways through narbor, walked by the real programs of other projects."""
