"""What a run tells of itself: metrics, plots, and why its policy rises or falls."""
