"""A plan in, artifacts out: text in memory, by path below the output folder."""
