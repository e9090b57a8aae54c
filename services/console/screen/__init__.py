"""What a person sees of the mesh: a live view, lines, a table."""
