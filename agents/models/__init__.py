"""Learned models of the environment, and planning with them."""
