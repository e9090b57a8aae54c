"""Orders: the desk that takes them, the paper venue that fills them, and the events that tell of both."""
