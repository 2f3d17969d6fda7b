"""A sequence model of steps cut into tokens, and a search in it."""
