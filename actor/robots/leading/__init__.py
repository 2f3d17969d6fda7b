"""A leader arm that goes where its follower is, until a hand pulls on it."""
