"""The pydantic models of every kind of file, and their JSON Schemas."""
