"""Updates: what to do when, the switch to another system, its proof, and the way back."""
