"""A run's page, and a page that compares several runs."""
