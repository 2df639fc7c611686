"""The demo: stories of named customers, a labelled simulation beside them, and a summary of what came of it."""
