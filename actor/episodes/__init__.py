"""Whole episodes: played, collected into sets, and compared."""
