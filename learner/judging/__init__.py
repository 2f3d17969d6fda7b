"""Which policy is the best: by recorded data, by episodes, and over several runs."""
