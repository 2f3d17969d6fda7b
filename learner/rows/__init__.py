"""Rows on their way into the pools: recorded ones, received ones, and as episodes again."""
