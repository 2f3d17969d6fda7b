"""An ensemble of probabilistic networks of the dynamics: learning it, rolling out in it, and how far it can be trusted."""
