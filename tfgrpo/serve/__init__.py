"""The live prior in front of every call: kept up with the store, added over HTTP; and `proxy`, for agents elsewhere."""
