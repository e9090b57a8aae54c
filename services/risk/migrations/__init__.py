"""The schema of the risk service, version by version."""
