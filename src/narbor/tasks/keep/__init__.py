"""Look after what is kept: read it again, mend it, let go of it, copy it."""
