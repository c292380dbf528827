"""A store in a database of PostgreSQL's: the same queries, the same rows, ids and checksums as in a file.

`dialect` translates queries and migrations, `transactions` is what queries are put to, `connections` keeps up with a
server that goes away, and `server` is the engine. Loaded only where a URL of PostgreSQL's is given.
"""
