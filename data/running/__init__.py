"""What every process of this package holds to: its threads, its repeated messages, and the numbers that it computes with."""
