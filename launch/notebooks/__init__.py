"""The Python API: a trainer and a collector."""
