"""What the pages of the app share: the frame, the address, charts and views.

Pages are thin; a page opens `frame.frame()` and calls one function of its view module.
"""
