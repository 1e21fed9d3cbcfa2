"""Seams agree: layers, settings, documents, the compose file."""
