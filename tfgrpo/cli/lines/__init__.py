"""What commands print: each result as lines for people, and as JSON for programs."""
