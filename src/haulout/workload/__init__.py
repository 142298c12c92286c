"""Images of confidential workloads: from the layers of a container to one encrypted disk, in one pass.

``rootfs`` merges layers, ``ext4`` makes a file system of them, ``verity`` makes every changed block known, ``luks``
encrypts. None of it needs root, a loop device or a second copy. ``build`` joins them, ``inspection`` takes apart.
"""
