"""Known ways in which V4 deployments fail, each with its source."""
