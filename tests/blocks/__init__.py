"""The blocks room."""
