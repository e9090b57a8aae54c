"""The mesh's processes: run, supervised, found by their ids, and asked whether they serve."""
