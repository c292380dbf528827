"""The dashboard: what is served, what it is worth, what was done about it, and the buttons for that, at `/tfgrpo/`.

Loaded with the first page that is asked for, so that calls through the proxy do not pay for it.
"""
