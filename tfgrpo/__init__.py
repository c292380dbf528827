"""Training-Free GRPO: a frozen model behind an API gets better at your task, with no weights touched."""

__version__ = "0.1.0"
