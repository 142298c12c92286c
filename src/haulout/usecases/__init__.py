"""The verbs as typed functions: dataclass in, dataclass out."""
