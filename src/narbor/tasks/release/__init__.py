"""Channel releases: what one consists of (wants, plan), from a Hydra's evaluation."""
