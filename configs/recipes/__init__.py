"""Presets on top of any task: the papers' algorithms, warmloop's own, and what changes them."""
