"""The paper venue: orders meet the records of a tape (rules 8 to 15)."""
