"""One module per page of the application; each has a `router`."""
