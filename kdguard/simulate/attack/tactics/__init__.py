"""The thirteen traffic tactics: frozen transforms of a plan, each with a strength and a mark on what it changed."""
