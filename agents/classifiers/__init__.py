"""Reward classifiers: the network, and a trained one on disk."""
