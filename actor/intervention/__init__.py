"""Who acts, the policy or a hand that takes over."""

from .intervention import Command as Command
