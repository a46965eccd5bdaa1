"""The paper's Tables 5 to 9 as lists of configurations, and what runs them row by row."""
