"""What people are told of the venue: its book, and why an order's events are what they are."""
