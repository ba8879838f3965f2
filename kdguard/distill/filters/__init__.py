"""Which exchanges are worth training on: filters over exchange tables, with the reason for every row they drop."""
