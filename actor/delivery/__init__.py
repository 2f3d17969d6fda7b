"""From the control loop to the learner and back: rows that are not lost, reports, and weights."""
