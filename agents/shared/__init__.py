"""What several algorithms do alike."""
