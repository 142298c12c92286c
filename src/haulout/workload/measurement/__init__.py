"""The launch measurement a workload is expected to have."""
