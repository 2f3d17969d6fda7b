"""What the operator's page sees of an actor, and how a person's words there reach its episodes."""
