"""Pages for analysts: server-rendered, without a script, so that the strictest content policy holds.

Figures are SVG drawn here, lists are links and forms; nothing is fetched from anywhere else, and nothing must run in
the browser. `routes.router` is what the app mounts.
"""
