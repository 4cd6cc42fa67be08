"""Real programs of other projects that the tests meet: which there are, and what ran."""
