"""One file for each format of findings."""
