"""Save and load configuration of any kind: models, dataclasses, mappings; JSON or YAML; comments kept, secrets not."""
