"""A pairing in, a plan out: every value, what set it, and which source backs it."""
