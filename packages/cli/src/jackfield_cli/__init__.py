"""The `jackfield` command."""
