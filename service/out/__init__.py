"""What leaves the service: findings for a SIEM, signed webhooks, metrics, logs without prompts."""
