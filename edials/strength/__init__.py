"""``strength="auto"``: how many features may be retained within a risk budget."""
