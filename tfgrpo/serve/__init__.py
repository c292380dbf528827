"""The live prior in front of every call: `source` keeps up with the store, `wire` adds it over HTTP, `once` makes one
call with it; and `proxy`, for agents elsewhere."""
