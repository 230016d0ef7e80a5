"""Sizing: measure what work costs (`calibration`), and find the largest load at quality (`knee`)."""
