"""Who asks: credentials, challenges and tokens."""
