"""Inspecting an image, whoever made it: what everybody can see, and what the passphrase shows."""
