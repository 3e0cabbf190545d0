"""Artifacts (ours or anyone's) in, a report out: schema, admission, bundle, plan and domain."""
