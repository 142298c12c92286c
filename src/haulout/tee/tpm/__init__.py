"""TPM 2.0: its quote, whether it is genuine, what a policy can require of it, and the enrolment of its key."""

__all__ = ["credential", "parse", "structures"]
