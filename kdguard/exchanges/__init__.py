"""The one record that both flows share, and its Parquet store."""
