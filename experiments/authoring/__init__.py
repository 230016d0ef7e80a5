"""Help to write studies and requests: JSON Schemas for editors, new files, and the studies that are shipped."""
