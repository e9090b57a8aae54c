"""Instruments, sessions, tapes, environments and their clocks, and the prices that everybody may see."""
