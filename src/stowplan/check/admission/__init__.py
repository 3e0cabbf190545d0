"""What kube-apiserver refuses beyond the schema; one file for each topic."""
