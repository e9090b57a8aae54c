"""Streams as cursors: events kept once for all, who waits for more, and what a cursor is told by."""
