"""True fakes: they do what the real thing does, and fail when they are told to."""
