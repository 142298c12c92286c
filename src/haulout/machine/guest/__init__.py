"""What is in the guest, and the way into it: what it is told before it boots, ssh, scripts, podman's API, the agent."""
