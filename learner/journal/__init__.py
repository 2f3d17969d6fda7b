"""Rows exactly once: the streams that actors send, and the journal from which they are rebuilt."""
