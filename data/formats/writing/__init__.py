"""What the writers of all formats share: what they refuse to write, in words."""
