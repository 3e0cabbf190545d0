"""Variant x checkpoint x server x layout in; bytes per device and host and capacity out, or why not."""
