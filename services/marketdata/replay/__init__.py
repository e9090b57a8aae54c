"""One environment's cycle: whom it asks for what, how far it goes, and who takes part."""
