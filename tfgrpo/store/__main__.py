"""`python -m tfgrpo.store > store/schema.sql` writes down the schema that the migrations add up to."""

from .migrations import schema_text

if __name__ == "__main__":
    print(schema_text(), end="")
