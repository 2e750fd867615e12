"""One module per kind of fault, each with `trials(settings)`, which yields what it tried."""
