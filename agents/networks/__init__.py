"""The networks that agents are made of, and what goes into them: normalised numbers and encoded pictures."""
