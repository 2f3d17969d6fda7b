"""An inspection's report as one HTML file."""
