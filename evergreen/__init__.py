"""Evergreen: models that stay fresh on data that keeps changing and is mostly unlabelled."""
