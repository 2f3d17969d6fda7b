"""Parts of single commands."""
