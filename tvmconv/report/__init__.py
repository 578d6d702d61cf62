"""Tables and plots of rows."""
