"""The live prior in front of every call: `source` holds it and keeps up with the place it is read from, `exchange` says
what a request becomes, `wire` sends it, `call_info` tells what it came to, `one_call` makes one; and `proxy`, for
agents elsewhere."""
