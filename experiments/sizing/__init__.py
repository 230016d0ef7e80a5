"""How large: what work costs (`calibration`), and the largest load at quality (`knee`)."""
