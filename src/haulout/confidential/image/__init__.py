"""Images of confidential workloads: from the layers of a container to one encrypted disk, in one pass."""
