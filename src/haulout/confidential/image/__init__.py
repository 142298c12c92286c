"""Images of confidential workloads: an encrypted disk that only the right machine may open, and its making.

``luks`` encrypts, ``verity`` makes every changed block known. Neither needs root, a loop device or a second copy.
"""
