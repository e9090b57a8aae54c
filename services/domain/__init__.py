"""The rules of trading, pure: every input is an argument, time too, and what happened is the answer."""
