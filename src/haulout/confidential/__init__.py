"""Confidential workloads: what a trusted execution environment (TEE) says of itself, and images that only one may open.

``evidence`` judges, ``emulator`` is a TEE for those who have none. They need the packages of ``haulout[confidential]``.
"""
