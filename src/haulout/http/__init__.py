"""One HTTP client: TLS, proxies, deadlines, attempts, redirects, meter."""
