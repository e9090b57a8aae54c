"""What everybody may see of an environment, and how it is sent: never beyond its stored position."""
