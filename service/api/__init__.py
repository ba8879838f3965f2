"""The HTTP interface of the scoring service.

- `settings`: what can be set; `app`: `create_app`; `state`: what a running service holds
- `problems`: errors as RFC 9457; `guard`: in front of every route; `access`: who calls, and how often
- one module a group of routes
"""
