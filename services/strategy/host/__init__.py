"""The strategies' side of replays: who takes part, what each decides, and how that is stored."""
