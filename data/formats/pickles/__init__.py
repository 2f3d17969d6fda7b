"""Pickles, read without running anything that they name."""
