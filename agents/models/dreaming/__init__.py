"""DreamerV3's recurrent model, its networks, and its optimizer."""
