"""Experiences: a language model proposes, rules admit, chance shows, and their measured effects decide."""
