"""The exceptions that commands turn into a sentence and an exit code."""


class WarmloopError(Exception):
    """A mistake in the input, told to the person who made it: what is wrong, where, what to do."""


class NonFiniteActionError(WarmloopError):
    """An action that is not a number, or is infinite: the policy that chose it has diverged."""
