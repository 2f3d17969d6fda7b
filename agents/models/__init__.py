"""Learnt models of what happens, and planning in them: the parts from which model-based agents are put together."""
