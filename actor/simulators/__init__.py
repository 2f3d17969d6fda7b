"""Simulated tasks by their ids: made, several behind one, and two suites that need help."""
