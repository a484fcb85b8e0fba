"""Judging what an anonymizer left: attackers, their risk, utility, and what is kept to see."""
