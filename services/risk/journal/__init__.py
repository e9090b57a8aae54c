"""What happened at the gates: made durable, numbered, and told."""
