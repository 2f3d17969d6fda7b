"""What users name by module."""
