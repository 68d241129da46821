"""What leaves the workbench: a feature as a card in HTML, PNG and PDF, and the colours everything is drawn in."""
