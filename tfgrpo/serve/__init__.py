"""The live prior in front of every call: `source` holds it and keeps up with the place it is read from, `exchange` says
what a request becomes, `wire` sends it, `told` knows what it came to, `once` makes one call; and `proxy`, for agents
elsewhere."""
