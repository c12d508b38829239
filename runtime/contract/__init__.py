"""The accuracy contract: metrics, tests, gates and the verdict."""
