"""The application that every library runs in the scenarios."""
