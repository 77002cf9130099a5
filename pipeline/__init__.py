"""How stages run; imports nothing else of this repository."""
