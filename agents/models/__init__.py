"""Models of what an environment does, and the parts that they are made of."""
