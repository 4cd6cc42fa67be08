"""What we do on our own account: mirror, verify, repair, a small farm."""
