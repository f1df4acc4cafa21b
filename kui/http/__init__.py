"""What the bytes of HTTP mean: pure functions, which wait for nothing and know nothing of the rest."""
