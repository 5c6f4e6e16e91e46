"""The live page about a model, from a server or in a single file."""
