"""The commands, one file each: what they ask, what they show. What they do is composed in `tracker.wiring`."""
