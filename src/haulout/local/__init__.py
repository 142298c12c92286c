"""The ground floor: files, locks, scratch space, programs and text of this machine."""
