"""Transfer: the main verbs, push and pull, and what they share.

Each verb is imported from its own module: who pulls does not wait for what only a push needs.
"""
