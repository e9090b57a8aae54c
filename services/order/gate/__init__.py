"""Risk's gate from the outside: how it is asked, what it is told, and who is turned away before it."""
