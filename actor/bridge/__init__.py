"""From an environment's own terms to the project's: spaces, observations, actions and infos."""
