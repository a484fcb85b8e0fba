"""The report of an audit: text, JSON, one HTML page, and matplotlib displays."""
