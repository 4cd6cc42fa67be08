"""One suite a contract, over every implementation of it."""
