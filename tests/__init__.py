"""The tests of narbor, one folder a room; `peers`, `world` and `journeys` meet real programs."""
