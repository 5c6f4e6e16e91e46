"""The networks and their pieces."""
