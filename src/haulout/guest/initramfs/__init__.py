"""Making the initramfs."""
