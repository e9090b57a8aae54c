"""Risk: the gate that every order passes, its limits and its kill switches."""
