"""What several questions share: exit codes, quality targets, provenance, how numbers are written."""
