"""`python -m tfgrpo` is `tfgrpo`."""

from .cli import main

main(prog_name="tfgrpo")
