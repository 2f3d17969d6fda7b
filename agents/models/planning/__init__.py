"""Searches for sequences of actions, in whatever values them."""
