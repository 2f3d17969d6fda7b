"""What the operator's page knows of a run: of its files, and of its processes."""
