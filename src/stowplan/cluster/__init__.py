"""A live API server: what it says of manifests, what its nodes are, and what differs from what was rendered."""
