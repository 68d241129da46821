"""What all pages share: the frame, the address, the look, charts, tables, text, data, notes, downloads."""
