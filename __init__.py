"""warmloop: warm a policy up on demonstrations offline, finish its training online."""

__version__ = "0.1.0"
