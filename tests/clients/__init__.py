"""Clients of others: whatever SDK and framework is installed gets the prior, and nothing else changes."""
