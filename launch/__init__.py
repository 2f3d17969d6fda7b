"""The commands. Importing this package as one of them, its signals are answered before anything else is imported."""

from .starting.signals import install_for_commands

install_for_commands()
