"""What every reader hands over: rows end to end, their marks and their episodes, checked and within a budget of memory."""
