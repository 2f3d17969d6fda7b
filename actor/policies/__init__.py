"""What chooses actions: agents, scripted experts, and policies from outside this package."""
