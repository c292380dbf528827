"""Versions of priors: compared, exchanged as files, and what a person does to them by hand."""
