"""HTTP/1.1 to upstreams, in as little time as it takes: what the proxy relays over, and the learner asks over."""
