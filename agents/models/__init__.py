"""Learnt models of the dynamics: an ensemble of networks, rollouts in it, a planner, and how far it can be trusted."""
