"""Tasks: read and checked whole, from files or `gym`, and split by what they are for."""
