"""How much better a prior is, on tasks that learning has not seen."""
