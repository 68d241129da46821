"""Asking a language model: messages in, text out, whether it is behind an endpoint or on this machine."""
