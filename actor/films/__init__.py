"""Films of episodes, for a person to look at."""
