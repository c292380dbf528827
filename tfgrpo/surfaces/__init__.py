"""How a prior enters a request, and leaves its mark on a response; one module for each API. No I/O."""
