"""Parse and write the values of HTTP, in pure functions that depend on no other package of Kui."""
