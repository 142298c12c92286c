"""AMD SEV-SNP: attestation reports of version 2 to 5, from Milan, Genoa and Turin processors."""
