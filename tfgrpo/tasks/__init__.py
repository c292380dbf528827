"""Tasks from files and from `gym`, read and checked whole; which of them teach, decide, or are left for the test."""
