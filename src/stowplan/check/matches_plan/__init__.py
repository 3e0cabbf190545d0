"""The manifests ask for what the plan beside them says."""
