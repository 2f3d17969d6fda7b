"""What the operator's page sees of a learner, and what it hears from there."""
