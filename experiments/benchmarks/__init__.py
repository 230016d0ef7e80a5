"""How fast and in how much memory the project's parts run; scripts to be run by hand."""
