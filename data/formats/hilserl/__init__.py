"""HIL-SERL's transitions, read and written."""
