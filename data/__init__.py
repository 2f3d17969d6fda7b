"""What is learnt from: transitions, episodes, dataset formats, quality, retention, replay, mixing and the wire schema."""
