"""Models of what happens, from which agents are put together."""
