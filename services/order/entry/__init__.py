"""Where requests come in, by calls and by sessions."""
