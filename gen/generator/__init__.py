"""Generates all of gen/ from proto/."""
