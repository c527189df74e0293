"""The pages that are made from the code: docs/reference.md and man/fleet.1."""
