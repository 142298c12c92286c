"""Inspecting an image, of any origin: what is not encrypted, and what the passphrase reveals."""
