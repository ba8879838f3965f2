"""Marks that kdguard finds, one family a file; `registry` names them."""
