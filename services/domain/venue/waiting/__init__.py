"""Who waits at the venue, where, and with what, so that only those a record concerns are looked at (rule 11)."""
