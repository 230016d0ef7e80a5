"""What of the documentation is made from the code: reference pages and diagrams. Not installed with the package."""
