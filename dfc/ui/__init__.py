"""The app: one room a page, and `shell` for what all pages share.

A page's room imports `shell` and rooms of the library, never another page's room: pages meet through addresses alone.
"""
