"""Attackers: linear ones and networks, by their roles in Newton et al. (2005)."""
