"""Plain modules, how they are trained, and how they evaluate."""
