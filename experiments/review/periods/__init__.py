"""The busy periods of a history: which are judged, and what they may want at the horizon."""
