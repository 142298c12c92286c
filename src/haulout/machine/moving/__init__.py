"""Machines that come from elsewhere and go there: exports, and machines of podman's."""
