"""The verbs as typed functions: dataclass in, dataclass out. Their face is :mod:`haulout` itself."""
