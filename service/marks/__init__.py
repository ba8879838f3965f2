"""Marks over HTTP: what is registered, checks of texts against it as jobs, and signed bundles of what was found.

- `vault`: a tenant's key store and ledger, which operators keep; the service only reads them
- `registered`: descriptions of watermarks, and the plans of canaries and twins, sealed
- `checks`: one check, by the functions of `kdguard watermark detect`, `canary verify` and `twins verify`
- `cases`: what a bundle is made of, sealed within its job; `jobs`: checks as jobs; `forgetting`: deleted accounts
"""
