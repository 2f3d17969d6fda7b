"""How a run is put together: its folder, its data, its learner and its actor."""
