"""What the store does on its own account."""
