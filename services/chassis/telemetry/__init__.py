"""What a process tells of its work: logs and spans, of one trace."""
