"""What starts machines by itself, and looks for updates: units of systemd's user manager, launchd's agents."""
