"""The process that each running machine has: its sockets, what commands ask of it, and its rescue."""
