"""Arm CCA: attestation tokens of a realm and of the platform below it."""
