"""Policies judged by episodes, and by recorded data."""
