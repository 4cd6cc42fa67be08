"""The hall, over real packs and a real catalogue."""
