"""What a run says of itself while it goes on: its line, its history, and what to doubt of its data."""
