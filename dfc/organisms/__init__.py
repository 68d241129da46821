"""Model organisms: real models with one narrow quirk put into them, compared with another as any pair is."""
