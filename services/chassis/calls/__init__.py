"""Calls as they are served and made: what stands around each of them, at both ends."""
