"""What commands are given: options that go together, each group with the frozen value that a command gets of it."""
