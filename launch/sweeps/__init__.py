"""What `sweep` does: its runs, their seeds side by side, and its table."""
