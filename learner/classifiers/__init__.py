"""Training a reward classifier, and what it is worth."""
