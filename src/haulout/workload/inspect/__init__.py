"""Inspecting an image, of any origin: what everybody can see, and what the passphrase reveals."""
