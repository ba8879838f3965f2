"""What the service keeps in its database: SQLite by default, PostgreSQL for real use.

- `tables`: every table; `database`: engine, transactions, migrations
- `secrets`: the master key and what is derived from it; `api_keys`: who may call
- `account_keys`: the key of each account's bodies; `trail`: the hash-chained audit trail
- `accounts`, `verdicts`, `dispositions`, `decisions`, `jobs`, `webhooks`, `baselines`: one a file, plain functions
"""
