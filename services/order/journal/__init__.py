"""What a desk decided: numbered, made durable, and then shown."""
