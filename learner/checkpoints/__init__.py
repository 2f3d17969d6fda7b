"""What a learner leaves on disk, whole or absent."""
