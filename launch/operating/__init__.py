"""The operator's page: what it knows of a run, whom it lets in, and how it is served."""
