"""Verbs for people and CI: thin, one job each."""
