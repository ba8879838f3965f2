"""The shapes of request and response bodies, which many log formats carry inside their own envelope."""
