"""Find the knee: the largest load that a trunk carries at quality, predicted and measured."""
