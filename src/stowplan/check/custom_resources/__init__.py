"""An object of a custom kind and its CustomResourceDefinition in; what the API server would say of it out."""
