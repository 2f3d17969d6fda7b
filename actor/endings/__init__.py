"""How an episode ends: success, by rules and by classifiers, and time limits."""
